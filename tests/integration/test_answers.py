"""The way of a completion between two processes: mailbox, Redis, engine, and back."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.random_models import BundleMaker
from textgen.bundles.bundle import save_bundle
from textgen.options import SamplingOptions
from worker.client import ANSWER_RETRIES, connect
from worker.contracts import BundleReference, GenerateRequest, StreamEntry
from worker.errors import BrokerUnavailable
from worker.generation.answers import Answers
from worker.generation.engine_link import EngineLink
from worker.generation.engine_states import EngineState, EngineStates
from worker.mailbox import BLOCK_SECONDS, LINGER_SECONDS, Mailbox
from worker.redis_keys import reader_key, stopped_key, worker_key
from worker.settings import Settings
from worker.stack.embedded_redis import HOST, prepare_redis
from worker.stack.process_output import Log
from worker.stack.supervisor import Program, Supervisor
from worker.storage.database import Database
from worker.usage.interactive import InteractiveMeter


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    folder = tmp_path_factory.mktemp("redis")
    with Supervisor(folder / "children.json", Log(io.StringIO(), ["redis"])) as supervisor:
        server = prepare_redis(folder / "redis")
        supervisor.start(Program("redis", server.command, {}))
        deadline = time.monotonic() + 60
        while not server.answers():
            assert time.monotonic() < deadline
            supervisor.turn(0.02)
        with redis.Redis(
            HOST, server.port, password=server.password, decode_responses=True
        ) as connection:
            yield connection
            time.sleep(
                LINGER_SECONDS + 2 * BLOCK_SECONDS
            )  # mailboxes have noticed that nobody waits


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, make_bundle: BundleMaker) -> Path:
    bundle = make_bundle(documents=False)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_bundle(path, bundle.header, bundle.model.state_dict())
    return path


@pytest.fixture(scope="module")
def link() -> Iterator[EngineLink]:
    link = EngineLink(device="cpu", slots=8, cache_bytes=10**9, threads=1)
    link.start()
    yield link
    link.close()


@pytest.fixture
def meter(tmp_path: Path, migrated_sqlite: Path) -> Iterator[InteractiveMeter]:
    (tmp_path / "usage.db").write_bytes(migrated_sqlite.read_bytes())
    database = Database(f"sqlite:///{tmp_path / 'usage.db'}")
    yield InteractiveMeter(database)
    database.dispose()


@pytest.fixture
def answers(broker: redis.Redis, link: EngineLink, meter: InteractiveMeter) -> Iterator[Answers]:
    answers = Answers(broker, link, "worker.1", meter)
    answers.start()
    yield answers
    answers.stop(0)


@pytest.fixture(scope="module")
def steadfast(broker: redis.Redis) -> Iterator[redis.Redis]:
    """A connection as a worker has it for its answers; it can be told from others."""
    known = broker.connection_pool.connection_kwargs
    url = f"redis://:{known['password']}@{HOST}:{known['port']}/0?client_name=steadfast"
    with connect(Settings(broker_url=url), retries=ANSWER_RETRIES) as connection:
        yield connection
        time.sleep(LINGER_SECONDS + 2 * BLOCK_SECONDS)


def break_connections(broker: redis.Redis) -> int:
    """Break those of ``steadfast``, whatever passes over them; how many there were."""
    own = [each["id"] for each in broker.client_list() if each["name"] == "steadfast"]
    return sum(broker.client_kill_filter(_id=each) for each in own)


@pytest.fixture
def mailbox(broker: redis.Redis) -> Mailbox:
    return Mailbox(broker, timeout=30)


def request(mailbox: Mailbox, name: str, **fields: Any) -> GenerateRequest:
    """A completion of many tokens, as the web process sends it."""
    options = SamplingOptions(max_tokens=fields.pop("max_tokens", 1_000_000))
    return GenerateRequest(
        id=name,
        bundle=BundleReference(artifact="a", file="f"),
        prompts=("ab",),
        options=options,
        seed=1,
        reader=mailbox.name,
        **fields,
    )


def read(mailbox: Mailbox, name: str) -> list[StreamEntry]:
    """All entries up to the last."""
    found = []
    deadline = time.monotonic() + 30
    while not found or found[-1].kind not in ("end", "error"):
        entry = mailbox.next(name, 1.0)
        assert time.monotonic() < deadline
        if entry is not None:
            found.append(entry)
    mailbox.close(name)
    return found


def soon(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_streamed_and_whole_are_the_same_text(
    mailbox: Mailbox, answers: Answers, model: Path
) -> None:
    texts = []
    for name, stream in (("s", True), ("w", False)):
        mailbox.open(name)
        answers.accept(request(mailbox, name, stream=stream, max_tokens=20_000), model)
        entries = read(mailbox, name)
        assert entries[0].kind == "accepted"
        assert entries[-1].usage is not None and entries[-1].usage.completion_tokens == 20_000
        texts.append("".join(delta.text for entry in entries for delta in entry.deltas))
        if stream:
            assert len(entries[1].deltas[0].text) == 1  # the first leaves at once
            assert len(entries) >= 3  # the others may come together where the machine is busy
    assert texts[0] == texts[1]


def test_connections_that_break_cost_nothing_and_double_nothing(
    broker: redis.Redis, steadfast: redis.Redis, link: EngineLink, meter: InteractiveMeter,
    model: Path,
) -> None:  # fmt: skip
    mailbox, answers = Mailbox(steadfast, timeout=30), Answers(steadfast, link, "worker.2", meter)
    answers.start()
    texts, broken = [], 0
    for name in ("whole", "broken"):
        mailbox.open(name)
        answers.accept(request(mailbox, name, stream=True, max_tokens=60_000), model)
        text = ""
        while True:
            entry = mailbox.next(name, 1.0)
            if entry is not None:
                text += "".join(delta.text for delta in entry.deltas)
                assert entry.kind != "error", entry
                if entry.kind == "end":
                    break
            if name == "broken":
                broken += break_connections(broker)
        mailbox.close(name)
        texts.append(text)
    answers.stop(0)
    assert broken > 2
    assert texts[0] == texts[1]


def test_when_redis_is_back_readers_learn_what_was_given_up(
    broker: redis.Redis, steadfast: redis.Redis, link: EngineLink, meter: InteractiveMeter,
    model: Path, mailbox: Mailbox, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Redis was away for the worker alone, so that nobody else could tell them."""
    answers = Answers(steadfast, link, "worker.3", meter)
    answers.start()
    for name in ("streamed", "held"):
        mailbox.open(name)
        answers.accept(request(mailbox, name, stream=name == "streamed"), model)
    deadline = time.monotonic() + 60
    while "answers dropped" not in caplog.text:
        break_connections(broker)
        assert time.monotonic() < deadline

    for name in ("streamed", "held"):
        end = read(mailbox, name)[-1]
        assert end.error is not None and end.error["code"] == "worker_lost"
    assert soon(lambda: link.open_requests == 0)
    mailbox.open("next")
    answers.accept(request(mailbox, "next", max_tokens=5), model)
    assert read(mailbox, "next")[-1].kind == "end"
    answers.stop(0)


def test_a_worker_that_stops_sends_what_has_ended(
    broker: redis.Redis, link: EngineLink, meter: InteractiveMeter, model: Path, mailbox: Mailbox
) -> None:
    for number in range(20):
        answers = Answers(broker, link, f"worker.4.{number}", meter)
        answers.start()
        mailbox.open(f"last{number}")
        answers.accept(request(mailbox, f"last{number}", max_tokens=1 + 50 * number), model)
        answers.stop(30)
        assert read(mailbox, f"last{number}")[-1].kind == "end"


def test_an_answer_that_nobody_waits_for_is_stopped(
    mailbox: Mailbox, answers: Answers, link: EngineLink, model: Path
) -> None:
    mailbox.open("long")
    answers.accept(request(mailbox, "long", stream=True), model)
    while (entry := mailbox.next("long", 1.0)) is None or entry.kind != "delta":
        pass

    mailbox.close("long")

    assert soon(lambda: link.open_requests == 0)


def test_a_request_that_is_taken_just_after_it_was_given_up_is_stopped(
    mailbox: Mailbox, answers: Answers, link: EngineLink, model: Path, broker: redis.Redis
) -> None:
    mailbox.open("late")
    mailbox.close("late")
    broker.delete(stopped_key("late"))  # as if the worker had looked before it was there

    answers.accept(request(mailbox, "late"), model)

    assert soon(lambda: link.open_requests == 0)


def test_a_request_that_was_given_up_in_the_queue_is_never_begun(
    mailbox: Mailbox, answers: Answers, link: EngineLink, model: Path, broker: redis.Redis
) -> None:
    mailbox.open("early")
    mailbox.close("early")

    answers.accept(request(mailbox, "early"), model)

    assert link.open_requests == 0
    assert not broker.exists(stopped_key("early"))


def test_the_work_for_a_process_that_died_is_stopped(
    mailbox: Mailbox, answers: Answers, link: EngineLink, model: Path, broker: redis.Redis
) -> None:
    mailbox.open("orphan")
    answers.accept(request(mailbox, "orphan"), model)
    assert soon(lambda: link.open_requests == 1)

    broker.delete(reader_key(mailbox.name))  # as its expiry does

    assert soon(lambda: link.open_requests == 0)
    mailbox.close("orphan")


def test_what_is_left_in_redis_does_not_grow(
    mailbox: Mailbox, answers: Answers, link: EngineLink, model: Path, broker: redis.Redis
) -> None:
    """One message of the mailbox stays, and everything expires."""

    def keys() -> set[str]:
        return {key for key in broker.scan_iter("*") if mailbox.name in key}

    before: set[str] = set()
    for number in range(60):
        name = f"r{number}"
        mailbox.open(name)
        answers.accept(request(mailbox, name, stream=True, max_tokens=50 + number), model)
        if number % 2:
            mailbox.next(name, 5.0)
            mailbox.close(name)
        else:
            assert read(mailbox, name)[-1].kind == "end"
        if number == 5:
            before = keys()

    assert soon(lambda: link.open_requests == 0)
    assert keys() == before
    assert all(broker.ttl(key) != -1 for key in broker.scan_iter("textgen:*"))
    key = f"textgen:answers:{mailbox.name}"
    assert soon(lambda: broker.xlen(key) <= 60)


def test_people_see_what_an_engine_does(
    broker: redis.Redis, mailbox: Mailbox, answers: Answers, model: Path
) -> None:
    states = EngineStates(broker)

    def wait_for(running: int) -> EngineState:
        deadline = time.monotonic() + 30
        while True:
            state = states.of(["worker.1", "worker.2"]).get("worker.1")
            if state is not None and state.models and state.running == running:
                return state
            assert time.monotonic() < deadline, state
            time.sleep(0.05)

    mailbox.open("seen")
    answers.accept(request(mailbox, "seen"), model)
    busy = wait_for(1)
    assert [each.artifact for each in busy.models] == ["a"]
    assert (busy.waiting, busy.slots, busy.cache_bytes) == (0, 8, 10**9)
    assert 0 < busy.models[0].bytes < 10**9

    mailbox.close("seen")
    assert wait_for(0).models == busy.models
    assert states.requests_waiting() == 0
    broker.set(worker_key("worker.2"), "1")  # of a worker of an earlier version
    assert "worker.2" not in states.of(["worker.2"])


def test_nothing_is_known_of_engines_without_redis() -> None:
    nowhere = EngineStates(redis.Redis(HOST, 1))

    assert nowhere.of([]) == {}
    with pytest.raises(BrokerUnavailable):
        nowhere.of(["worker.1"])
    with pytest.raises(BrokerUnavailable):
        nowhere.requests_waiting()
