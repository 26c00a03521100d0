"""Webhooks: nothing lost, nothing sent where it must not go, and the official client accepts it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from textgen.errors import InvalidOption
from worker.errors import InvalidSetting, NotFound
from worker.jobs import Jobs
from worker.jobs.states import Kind
from worker.storage.database import Database
from worker.webhooks.deliverer import GIVE_UP_SECONDS, Deliverer, delay_after
from worker.webhooks.destinations import (
    Allowed,
    ForbiddenDestination,
    UnreachableDestination,
    check_url,
    resolve,
)
from worker.webhooks.endpoints import Endpoint, Endpoints
from worker.webhooks.events import EVENT_TYPES
from worker.webhooks.sender import Sender
from worker.webhooks.tables import webhook_deliveries

LOOPBACK = Allowed.parse("127.0.0.0/8")


class Receiver(ThreadingHTTPServer):
    """Keeps what it was sent; answers with the statuses it was given, then 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.location = ""
        self.slow = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?x=1"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), body))
        if self.server.slow.is_set():
            for _ in range(100):  # a byte now and then: no single step is too long
                try:
                    self.wfile.write(b"H")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.1)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.send_response(status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running(server: Receiver) -> Iterator[Receiver]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running(Receiver()) as server:
        yield server


@pytest.fixture
def sender() -> Sender:
    return Sender(LOOPBACK, total_seconds=1.0)


@pytest.fixture
def endpoints(database: Database, sender: Sender) -> Endpoints:
    return Endpoints(database, sender)


@pytest.fixture
def deliverer(database: Database, sender: Sender) -> Deliverer:
    return Deliverer(database, sender)


def subscribe(endpoints: Endpoints, receiver: Receiver, tenant: str = "acme") -> Endpoint:
    return endpoints.create(tenant, "hook", receiver.url, EVENT_TYPES)


def end(jobs: Jobs, kind: Kind = "training", tenant: str = "acme") -> str:
    return jobs.request_cancel(tenant, jobs.submit(tenant, kind, {}).id).id


def make_due(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.update(webhook_deliveries).values(due_at=0.0, held_until=0.0))


def unwrap(received: tuple[dict[str, str], bytes], secret: str) -> Any:
    client = openai.OpenAI(api_key="x", base_url="http://127.0.0.1:1", webhook_secret=secret)
    return client.webhooks.unwrap(received[1].decode(), received[0])


class TestDelivery:
    def test_the_official_client_accepts_what_is_sent(
        self, jobs: Jobs, endpoints: Endpoints, deliverer: Deliverer, receiver: Receiver
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        job_id = end(jobs)
        end(jobs, "scoring")  # there is no event of it
        end(jobs, tenant="globex")  # nobody has asked

        assert deliverer.deliver_one()
        assert not deliverer.deliver_one()

        event = unwrap(receiver.received[0], endpoint.secret)
        assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job_id)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrap(receiver.received[0], "whsec_" + "A" * 44)
        (logged,) = endpoints.deliveries("acme", endpoint.id).items
        assert (logged.state, logged.attempts, logged.last_status) == ("delivered", 1, 200)

    @pytest.mark.parametrize(
        ("kind", "how", "event_type"),
        [
            ("training", "succeed", "fine_tuning.job.succeeded"),
            ("training", "fail", "fine_tuning.job.failed"),
            ("batch", "succeed", "batch.completed"),
            ("batch", "fail", "batch.failed"),
            ("batch", "expire", "batch.expired"),
            ("batch", "cancel", "batch.cancelled"),
            ("evaluation", "succeed", "eval.run.succeeded"),
            ("evaluation", "cancel", "eval.run.canceled"),
        ],
    )
    def test_every_end_has_its_event(
        self,
        jobs: Jobs,
        endpoints: Endpoints,
        receiver: Receiver,
        kind: Kind,
        how: str,
        event_type: str,
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        deadline = 0.0 if how == "expire" else None
        job = jobs.submit("acme", kind, {}, deadline_seconds=deadline)
        if how == "cancel":
            jobs.request_cancel("acme", job.id)
        elif how == "expire":
            jobs.fail_overdue()
        else:
            held = jobs.claim(job.queue, "w")
            assert held is not None
            if how == "succeed":
                jobs.succeed(held, {})
            else:
                jobs.fail(held, {"code": "x", "message": "", "param": None})

        (found,) = endpoints.deliveries("acme", endpoint.id).items
        assert (found.event_type, json.loads(found.body)["data"]["id"]) == (event_type, job.id)

    def test_an_event_that_is_not_taken_comes_again_under_the_same_id(
        self,
        jobs: Jobs,
        endpoints: Endpoints,
        deliverer: Deliverer,
        receiver: Receiver,
        database: Database,
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        end(jobs)
        receiver.statuses = [500, 301, 503]

        for _ in range(4):
            assert deliverer.deliver_one()
            assert not deliverer.deliver_one()  # it waits
            make_due(database)

        (logged,) = endpoints.deliveries("acme", endpoint.id).items
        assert (logged.state, logged.attempts) == ("delivered", 4)
        assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
        unwrap(receiver.received[-1], endpoint.secret)

    def test_after_three_days_it_is_given_up_and_may_be_asked_for_again(
        self,
        jobs: Jobs,
        endpoints: Endpoints,
        deliverer: Deliverer,
        receiver: Receiver,
        database: Database,
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        end(jobs)
        with database.write() as connection:
            connection.execute(
                sa.update(webhook_deliveries).values(created_at=time.time() - GIVE_UP_SECONDS)
            )
        receiver.statuses = [500]

        deliverer.deliver_one()

        (logged,) = endpoints.deliveries("acme", endpoint.id).items
        assert (logged.state, logged.last_error) == ("failed", "status 500")
        assert not deliverer.deliver_one()
        with pytest.raises(NotFound):
            endpoints.send_again("globex", endpoint.id, logged.id)
        endpoints.send_again("acme", endpoint.id, logged.id)
        assert deliverer.deliver_one()
        assert endpoints.deliveries("acme", endpoint.id).items[0].state == "delivered"

    def test_a_deliverer_that_dies_loses_none(
        self, jobs: Jobs, endpoints: Endpoints, receiver: Receiver, database: Database
    ) -> None:
        class Dying(Sender):
            def post(self, *_: Any) -> int:
                raise KeyboardInterrupt  # as if killed while it sends

        subscribe(endpoints, receiver)
        ids = {end(jobs) for _ in range(3)}
        with pytest.raises(KeyboardInterrupt):
            Deliverer(database, Dying(LOOPBACK), hold_seconds=0.3).deliver_one()
        other = Deliverer(database, Sender(LOOPBACK))

        assert not other.deliver_one()  # it is held still, and no other of its endpoint goes
        time.sleep(0.4)
        while other.deliver_one():
            pass

        sent = [json.loads(body)["data"]["id"] for _, body in receiver.received]
        assert sorted(sent) == sorted(ids)

    def test_many_deliverers_send_each_once(
        self, jobs: Jobs, endpoints: Endpoints, receiver: Receiver, database_url: str
    ) -> None:
        subscribe(endpoints, receiver)
        ids = [end(jobs) for _ in range(12)]
        stop = threading.Event()
        several = [Database(database_url) for _ in range(2)]
        threads = [
            threading.Thread(target=Deliverer(each, Sender(LOOPBACK)).run, args=(stop,))
            for each in several
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(receiver.received) < len(ids) and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        for each in several:
            each.dispose()

        sent = [json.loads(body)["data"]["id"] for _, body in receiver.received]
        assert sorted(sent) == sorted(ids)

    def test_both_secrets_sign_while_one_replaces_the_other(
        self, jobs: Jobs, endpoints: Endpoints, deliverer: Deliverer, receiver: Receiver
    ) -> None:
        old = subscribe(endpoints, receiver)
        new = endpoints.rotate_secret("acme", old.id, keep_old=True)
        end(jobs)
        deliverer.deliver_one()
        newest = endpoints.rotate_secret("acme", old.id)
        end(jobs)
        deliverer.deliver_one()

        for secret in (old.secret, new.secret):
            unwrap(receiver.received[0], secret)
        unwrap(receiver.received[1], newest.secret)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrap(receiver.received[1], new.secret)

    def test_what_was_for_a_deleted_endpoint_is_not_sent(
        self, jobs: Jobs, endpoints: Endpoints, deliverer: Deliverer, receiver: Receiver
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        end(jobs)

        with pytest.raises(NotFound):
            endpoints.delete("globex", endpoint.id)
        endpoints.delete("acme", endpoint.id)

        assert not deliverer.deliver_one()

    def test_unknown_events(self, endpoints: Endpoints, receiver: Receiver) -> None:
        with pytest.raises(InvalidOption):
            endpoints.create("acme", "x", receiver.url, ["batch.done"])


def test_the_delays_grow_to_half_a_day_and_span_three() -> None:
    delays = [delay_after(attempt) for attempt in range(1, 20)]

    assert 4 <= delays[0] <= 6 and 12 <= delays[1] <= 18
    assert all(delay <= 12 * 3600 * 1.2 for delay in delays)
    assert sum(delays[:14]) > GIVE_UP_SECONDS


class TestDestinations:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "localhost",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.5.5",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",  # noqa: S104  (looked at, not bound)
            "224.0.0.1",
            "255.255.255.255",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[::ffff:127.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[ff02::1]",
        ],
    )
    def test_nothing_but_public_addresses(self, host: str) -> None:
        with pytest.raises((ForbiddenDestination, UnreachableDestination)):
            resolve(f"https://{host}/hook", Allowed())

    @pytest.mark.parametrize(
        "host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"]
    )
    def test_metadata_never_whatever_the_operator_says(self, host: str) -> None:
        for allowed in ("0.0.0.0/0,::/0", f"{host.strip('[]')},169.254.0.0/16"):
            with pytest.raises(ForbiddenDestination):
                resolve(f"http://{host}/", Allowed.parse(allowed))

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://example.com/",
            "https://",
            "https://user:password@example.com/",
            "https://user@example.com/",
            "https://example.com:99999/",
            "https://example.com:0/",
            "https://exa mple.com/",
            "https://example.com/\r\nHost: other",
            "https://[::1/",
            "https://例え.jp/",
            "https://example.com/" + "x" * 2000,
            "file:///etc/passwd",
        ],
    )
    def test_urls_that_are_none(self, url: str) -> None:
        with pytest.raises(ForbiddenDestination):
            check_url(url)

    def test_public_ones_by_tls_alone(self) -> None:
        assert resolve("https://93.184.215.14/x", Allowed()).address == "93.184.215.14"
        with pytest.raises(ForbiddenDestination):
            resolve("http://93.184.215.14/x", Allowed())

    def test_one_bad_address_of_several_is_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
            for address in ("93.184.215.14", "10.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)

        with pytest.raises(ForbiddenDestination):
            resolve("https://rebinding.example/", Allowed())

    def test_the_address_that_was_judged_is_the_one_that_is_used(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, asked = socket.getaddrinfo, []

        def answer(host: Any, *args: Any, **options: Any) -> Any:
            asked.append(host)
            return real("127.0.0.1" if host == "own.example" else host, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        port = receiver.server_address[1]
        status = Sender(Allowed.parse("own.example")).post(
            f"http://own.example:{port}/", {"webhook-id": "x"}, b"{}"
        )

        assert status == 200
        assert asked.count("own.example") == 1  # what it says later does not matter
        assert receiver.received[0][0]["Host"] == f"own.example:{port}"

    def test_a_redirect_is_not_followed(self, receiver: Receiver, sender: Sender) -> None:
        with running(Receiver()) as other:
            receiver.statuses, receiver.location = [307], other.url

            assert sender.post(receiver.url, {}, b"{}") == 307
            assert other.received == []

    def test_an_answer_that_drips_is_broken_off(self, receiver: Receiver, sender: Sender) -> None:
        receiver.slow.set()
        began = time.monotonic()

        with pytest.raises(UnreachableDestination):
            sender.post(receiver.url, {}, b"{}")
        assert time.monotonic() - began < 5

    def test_nobody_there(self, sender: Sender) -> None:
        with pytest.raises(UnreachableDestination):
            sender.post("http://127.0.0.1:1/", {}, b"{}")

    def test_a_setting_that_is_none(self) -> None:
        with pytest.raises(InvalidSetting):
            Allowed.parse("10.0.0.0/99")


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        path = tmp_path / "cert.pem"
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
                "-subj", "/CN=own.example", "-addext", "subjectAltName=DNS:own.example",
                "-keyout", str(tmp_path / "key.pem"), "-out", str(path),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        return path

    def test_the_certificate_must_be_the_hosts(
        self, receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(certificate, certificate.with_name("key.pem"))
        receiver.socket = served.wrap_socket(receiver.socket, server_side=True)
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda _, *args, **options: real("127.0.0.1", *args, **options),
        )
        allowed = Allowed.parse("own.example,other.example")
        trusting = Sender(allowed, context=ssl.create_default_context(cafile=str(certificate)))
        port = receiver.server_address[1]

        def send(sender: Sender, host: str) -> int:
            return sender.post(f"https://{host}:{port}/", {}, b"{}")

        assert send(trusting, "own.example") == 200
        for sender, host in ((trusting, "other.example"), (Sender(allowed), "own.example")):
            with pytest.raises(UnreachableDestination):
                send(sender, host)
        assert len(receiver.received) == 1
