"""The states of texts in a real Redis: whose they are, how long, how many, and what is lost."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from textgen.errors import InvalidOption
from worker.contracts import BundleReference
from worker.errors import BrokerUnavailable, NotFound
from worker.stack.embedded_redis import HOST, prepare_redis
from worker.storage.text_states import TextStates

MODEL = "ft:lstm-tiny:acme::1"
BUNDLE = BundleReference(artifact="jobs/1/1/model", file="model.safetensors")


class Server:
    """A Redis as the embedded stack has it; may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.server = prepare_redis(folder)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.server.command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self.server.answers():
            assert time.monotonic() < deadline, self.server.log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def connect(self) -> redis.Redis:
        return redis.Redis(
            HOST, self.server.port, password=self.server.password, decode_responses=True
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def connection(server: Server) -> redis.Redis:
    connection = server.connect()
    connection.flushall()
    return connection


def packed(size: int = 100) -> str:
    return json.dumps({"tokens": 7, "values": "x" * size})


def test_a_state_is_there_until_it_is_deleted(connection: redis.Redis) -> None:
    states = TextStates(connection, seconds=60, bound=10**6)
    first = states.add("acme", MODEL, BUNDLE, packed())
    second = states.add("acme", MODEL, BUNDLE, packed())
    assert states.use("acme", first, MODEL, BUNDLE) == packed()
    assert states.use("acme", first, MODEL, BUNDLE) == packed()  # as often as one likes
    known = states.get("acme", first)
    assert (known.id, known.model, known.tokens, known.bytes) == (first, MODEL, 7, len(packed()))
    assert 0 <= known.expires_at - known.created_at - 60 <= 1
    assert [each.id for each in states.of_tenant("acme")] == [second, first]

    states.delete("acme", first)

    for call in (states.get, states.delete):
        with pytest.raises(NotFound, match="Send the whole text instead") as caught:
            call("acme", first)
        assert (caught.value.code, caught.value.param) == ("state_not_found", "state_id")
    with pytest.raises(NotFound):
        states.use("acme", first, MODEL, BUNDLE)
    assert [each.id for each in states.of_tenant("acme")] == [second]


def test_another_tenant_sees_nothing_of_it(connection: redis.Redis) -> None:
    states = TextStates(connection, seconds=60, bound=10**6)
    state = states.add("acme", MODEL, BUNDLE, packed())
    assert states.of_tenant("globex") == []
    for call in (states.get, states.delete):
        with pytest.raises(NotFound):
            call("globex", state)
    with pytest.raises(NotFound):
        states.use("globex", state, MODEL, BUNDLE)
    assert states.use("acme", state, MODEL, BUNDLE)


def test_a_replaced_model_does_not_go_on(connection: redis.Redis) -> None:
    states = TextStates(connection, seconds=60, bound=10**6)
    state = states.add("acme", MODEL, BUNDLE, packed())
    newer = BundleReference(artifact="jobs/1/2/model", file="model.safetensors")
    with pytest.raises(InvalidOption, match="Send the whole text instead") as caught:
        states.use("acme", state, MODEL, newer)
    assert (caught.value.code, caught.value.param) == ("state_of_another_model", "state_id")


def test_a_state_that_is_used_stays(connection: redis.Redis) -> None:
    states = TextStates(connection, seconds=3, bound=10**6)
    used, unused = (states.add("acme", MODEL, BUNDLE, packed()) for _ in range(2))
    for _ in range(8):
        time.sleep(0.5)
        states.use("acme", used, MODEL, BUNDLE)
    with pytest.raises(NotFound):
        states.use("acme", unused, MODEL, BUNDLE)
    assert [each.id for each in states.of_tenant("acme")] == [used]
    time.sleep(4)
    assert connection.keys() == []  # nothing stays behind


def test_the_longest_unused_make_room(connection: redis.Redis) -> None:
    size = len(packed())
    states = TextStates(connection, seconds=60, bound=3 * size)
    other = states.add("globex", MODEL, BUNDLE, packed())
    first, second, third = (states.add("acme", MODEL, BUNDLE, packed()) for _ in range(3))
    time.sleep(1)  # Redis counts whole seconds here
    states.use("acme", first, MODEL, BUNDLE)
    fourth, fifth = (states.add("acme", MODEL, BUNDLE, packed()) for _ in range(2))
    left = {each.id for each in states.of_tenant("acme")}
    assert left == {first, fourth, fifth}
    assert not left & {second, third}
    assert states.get("globex", other)  # each tenant has its own bound
    for _ in range(50):
        states.add("acme", MODEL, BUNDLE, packed())
    states.delete("acme", states.of_tenant("acme")[0].id)
    assert len(states.of_tenant("acme")) == 2
    assert int(str(connection.hget("textgen:state-sizes:acme", ""))) == 2 * size
    assert len(connection.keys("textgen:state:acme:*")) == 2


@pytest.mark.parametrize("odd", ["", "state_1", "\ud800", "\0", "state_" + "0" * 27, "a:b"])
def test_an_id_that_was_never_given_out(connection: redis.Redis, odd: str) -> None:
    states = TextStates(connection, seconds=60, bound=10**6)
    for call in (states.get, states.delete):
        with pytest.raises(NotFound):
            call("acme", odd)
    with pytest.raises(NotFound):
        states.use("acme", odd, MODEL, BUNDLE)


def test_a_bound_of_nothing_turns_them_off(connection: redis.Redis) -> None:
    with pytest.raises(InvalidOption) as caught:
        TextStates(connection, seconds=60, bound=0).check_allowed()
    assert caught.value.code == "states_off"
    small = TextStates(connection, seconds=60, bound=100)
    small.check_allowed()
    with pytest.raises(InvalidOption, match="a tenant may have 100"):
        small.add("acme", MODEL, BUNDLE, packed())
    assert connection.keys() == []


def test_a_redis_that_was_killed_has_them_again(tmp_path: Path) -> None:
    """The embedded one writes its file each second; one without a file begins empty."""
    server = Server(tmp_path)
    try:
        states = TextStates(server.connect(), seconds=60, bound=10**6)
        state = states.add("acme", MODEL, BUNDLE, packed())
        time.sleep(1.5)
        server.kill()
        with pytest.raises(BrokerUnavailable, match="or send the whole text"):
            states.use("acme", state, MODEL, BUNDLE)
        server.start()
        assert states.use("acme", state, MODEL, BUNDLE) == packed()
        server.connect().flushall()  # one that kept nothing
        with pytest.raises(NotFound, match="Send the whole text instead"):
            states.use("acme", state, MODEL, BUNDLE)
        assert states.add("acme", MODEL, BUNDLE, packed())
    finally:
        server.kill()
