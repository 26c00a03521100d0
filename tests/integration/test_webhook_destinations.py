"""Webhooks are not sent where they must not go."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.webhook_receiver import Receiver, running
from worker.errors import InvalidSetting
from worker.webhooks.destinations import (
    Allowed,
    ForbiddenDestination,
    UnreachableDestination,
    check_url,
    resolve,
)
from worker.webhooks.sender import Sender

LOOPBACK = Allowed.parse("127.0.0.0/8")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running(Receiver()) as server:
        yield server


@pytest.fixture
def sender() -> Sender:
    return Sender(LOOPBACK, total_seconds=1.0)


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

    def test_the_machines_certificates_are_read_once_and_when_they_are_needed(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Reading them takes longer than all the rest of a service's start."""
        made: list[ssl.SSLContext] = []
        real = ssl.create_default_context

        def make() -> ssl.SSLContext:
            made.append(real())
            return made[-1]

        monkeypatch.setattr(ssl, "create_default_context", make)
        senders = [Sender(LOOPBACK), Sender(LOOPBACK)]
        port = receiver.server_address[1]

        for sender in senders:
            assert sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") == 200
        assert made == []
        for sender in senders:
            with pytest.raises(UnreachableDestination):
                sender.post(f"https://127.0.0.1:{port}/", {}, b"{}")
        assert len(made) <= 1  # none where a test before this one needed them

    def test_nobody_there(self, sender: Sender) -> None:
        with pytest.raises(UnreachableDestination):
            sender.post("http://127.0.0.1:1/", {}, b"{}")

    def test_a_setting_that_is_none(self) -> None:
        with pytest.raises(InvalidSetting):
            Allowed.parse("10.0.0.0/99")


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed: nothing makes a certificate")
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

    @pytest.mark.parametrize(
        ("handshake_after", "first"),
        [
            (1.3, b"HTTP/1.1 200 OK\r\nX: "),  # the time is over before TLS is set up
            (0.0, b"HTTP/1.1 200 OK\r\nX: "),
            (0.0, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"),
            (0.0, b"HTTP/1.1 200 OK\r\n\r\n"),  # the body ends where the connection does
        ],
        ids=["handshake", "header", "body", "endless body"],
    )
    def test_what_drips_is_broken_off_wherever_it_is(
        self,
        certificate: Path,
        monkeypatch: pytest.MonkeyPatch,
        handshake_after: float,
        first: bytes,
    ) -> None:
        """No single step is too long, and all together take no longer than they may."""
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(certificate, certificate.with_name("key.pem"))
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda _, *args, **options: real("127.0.0.1", *args, **options),
        )
        listener = socket.create_server(("127.0.0.1", 0))

        def drip() -> None:
            with suppress(OSError):
                raw, _ = listener.accept()
                with raw:
                    time.sleep(handshake_after)
                    with served.wrap_socket(raw, server_side=True) as peer:
                        peer.recv(4096)
                        peer.sendall(first)
                        for _ in range(200):
                            peer.sendall(b"x")
                            time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        context = ssl.create_default_context(cafile=str(certificate))
        sender = Sender(Allowed.parse("own.example"), context=context, total_seconds=1.0)
        began = time.monotonic()
        try:
            with pytest.raises(UnreachableDestination):
                sender.post(f"https://own.example:{listener.getsockname()[1]}/", {}, b"{}")
            assert time.monotonic() - began < 5
        finally:
            listener.close()
            thread.join()
