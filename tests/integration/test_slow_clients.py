"""Clients that send slowly hold no thread for long; restarts fail no request."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from tests.chaos.proxy import Proxy
from tests.integration.test_web_server import WebProcess, broker_url, upload

__all__ = ["broker_url"]
SECONDS = 1.0


@pytest.fixture
def web(tmp_path: Path, broker_url: str) -> Iterator[WebProcess]:
    web = WebProcess(
        tmp_path, broker_url, TEXTGEN_REQUEST_SECONDS=str(SECONDS), TEXTGEN_WEB_THREADS="8"
    )
    try:
        web.wait_until_ready()
        yield web
    finally:
        web.stop()


def connect(web: WebProcess) -> socket.socket:
    host, _, port = web.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def head(web: WebProcess, length: int) -> bytes:
    return (
        f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {web.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def trickle(connection: socket.socket, data: bytes) -> None:
    """A byte every tenth of a second, until nobody listens any more."""
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
        except OSError:
            return
        time.sleep(0.1)


@pytest.mark.slow
def test_slow_heads_and_bodies_hold_no_thread(web: WebProcess) -> None:
    slow = [connect(web) for _ in range(16)]  # twice as many as there are threads
    starts = [head(web, 300)[:20], head(web, 300)]
    began = time.monotonic()
    for number, connection in enumerate(slow):
        connection.sendall(starts[number % 2])
    writers = [
        threading.Thread(target=trickle, args=(each, b"x" * 300), daemon=True) for each in slow
    ]
    for writer in writers:
        writer.start()

    with web.client() as client:
        assert client.get("/v1/models").status_code == 200
    waited = time.monotonic() - began
    answers = [each.recv(4096) for each in slow]
    for each in slow:
        each.close()
    for writer in writers:
        writer.join(60)

    assert waited < 15
    assert all(b"408" in answer.split(b"\r\n")[0] for answer in answers[1::2]), answers
    assert b"request_timeout" in answers[1]
    assert all(b"200" not in answer.split(b"\r\n")[0] for answer in answers[::2])


def test_a_body_that_comes_steadily_has_its_time(web: WebProcess) -> None:
    with connect(web) as connection:
        body = b'{"input_file_id": "' + b"x" * 4000 + b'"}'
        connection.sendall(head(web, len(body)))
        for start in range(0, len(body), 400):  # 4,000 bytes a second, for longer than a second
            connection.sendall(body[start : start + 400])
            time.sleep(0.2)
        answer = connection.recv(4096)

    assert b"400" in answer.split(b"\r\n")[0], answer


def test_a_restart_fails_no_request(web: WebProcess) -> None:
    (before,) = psutil.Process(web.process.pid).children()
    over = threading.Event()
    failed: list[str] = []
    served = [0] * 4

    def ask(number: int) -> None:
        with web.client() as client:
            while not over.is_set():
                try:
                    status = client.get("/v1/models").status_code
                except httpx.HTTPError as error:
                    failed.append(repr(error))
                    continue
                served[number] += 1
                if status != 200:
                    failed.append(str(status))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    os.kill(web.process.pid, signal.SIGHUP)
    before.wait(60)
    (after,) = psutil.Process(web.process.pid).children()
    already = sum(served)
    deadline = time.monotonic() + 30
    while sum(served) < already + 40 and time.monotonic() < deadline:
        time.sleep(0.05)
    over.set()
    for thread in threads:
        thread.join(60)

    assert after.pid != before.pid
    assert failed == []
    assert sum(served) >= already + 40


def test_the_stock_client_makes_one_job_though_the_answer_is_lost(web: WebProcess) -> None:
    with web.client() as client:
        file_id = upload(client, 1)
    with Proxy(int(web.url.rpartition(":")[2])) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/v1"
        stock = openai.OpenAI(base_url=url, api_key=web.key, timeout=30)
        proxy.swallow_next_reply(b"/v1/fine_tuning/jobs")
        job = stock.fine_tuning.jobs.create(model="lstm-tiny", training_file=file_id)

        assert proxy.lost_replies == 1
        assert [each.id for each in stock.fine_tuning.jobs.list()] == [job.id]
        stock.close()
