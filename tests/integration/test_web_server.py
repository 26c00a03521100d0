"""The web process as it runs: gunicorn with threads, a real Redis, real sockets."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from tests.stack import ROOT, free_port
from worker.settings import Settings
from worker.stack.embedded_redis import prepare_redis
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.models import NewModel, add_model

MEBIBYTE = 2**20
STREAMS = 4 * Settings().web_threads


class WebProcess:
    """`python -m web.server` in a home of its own."""

    def __init__(self, home: Path, broker_url: str, **settings: str) -> None:
        self.home = home
        self.broker_url = broker_url
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "web.server"],
            cwd=ROOT,
            env={
                "TEXTGEN_HOME": str(home),
                "TEXTGEN_BROKER_URL": broker_url,
                "PORT": self.url.rpartition(":")[2],
                **settings,
            },
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the web process ended by itself"
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError("not ready after 120 s")

    @property
    def key(self) -> str:
        return (self.home / "credentials").read_text().strip()

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def anonymous_bytes(self) -> int:
        """Memory of parent and worker that no file backs."""
        family = psutil.Process(self.process.pid)
        return sum(
            int(line.split()[1]) * 1024
            for member in [family, *family.children()]
            for line in Path(f"/proc/{member.pid}/status").read_text().splitlines()
            if line.startswith("RssAnon:")
        )

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = prepare_redis(tmp_path_factory.mktemp("redis"))
    process = subprocess.Popen(server.command)
    while not server.answers():
        time.sleep(0.02)
    yield f"redis://:{server.password}@127.0.0.1:{server.port}/0"
    process.terminate()
    process.wait(10)


@pytest.fixture
def web(tmp_path: Path, broker_url: str) -> Iterator[WebProcess]:
    database = Database(f"sqlite:///{tmp_path / 'textgen.db'}")
    database.migrate()  # as `textgen up` does before it starts a web process
    database.dispose()
    web = WebProcess(tmp_path, broker_url)
    try:
        web.wait_until_ready()
        yield web
    finally:
        web.stop()


def upload(client: httpx.Client, mebibytes: int) -> str:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        for _ in range(mebibytes):
            yield b"To be, or not to be, that is the" * (MEBIBYTE // 32)
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = client.post("/v1/files", content=body(), headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_a_large_file_goes_in_and_out_in_constant_memory(web: WebProcess) -> None:
    with web.client() as client:
        upload(client, 1)
        before = web.anonymous_bytes()

        file_id = upload(client, 96)
        received = 0
        with client.stream("GET", f"/v1/files/{file_id}/content") as answer:
            for piece in answer.iter_raw():
                received += len(piece)

        assert received == 96 * MEBIBYTE
        assert web.anonymous_bytes() - before < 16 * MEBIBYTE
        assert web.anonymous_bytes() < 120_000_000


def test_a_broken_upload_leaves_nothing(web: WebProcess) -> None:
    host, port = web.url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {web.key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode())

    time.sleep(0.5)
    with web.client() as client:
        assert client.get("/v1/files").json()["data"] == []
    assert not [path for path in (web.home / "artifacts").rglob("*") if path.is_file()]


def give_model(web: WebProcess) -> str:
    """A model row, as a training publishes one; nobody generates from it here."""
    database = Database(f"sqlite:///{web.home / 'textgen.db'}")
    with ArtifactStore(str(web.home / "artifacts")).create("jobs/j/1/model") as staging:
        with staging.open("model.safetensors") as file:
            file.write(b"x")
        staging.commit()
    with database.write() as connection:
        new = NewModel("ft:test", "default", "jobs/j/1/model", "model.safetensors")
        add_model(connection, "default", new, database.now(connection))
    database.dispose()
    return "ft:test"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_is_noticed(web: WebProcess, stream: bool) -> None:
    body = {"model": give_model(web), "prompt": "x", "stream": stream}
    broker = redis.Redis.from_url(web.broker_url)
    with web.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/completions", json=body, timeout=0.3)

    gone = time.monotonic()
    while not list(broker.scan_iter("textgen:stopped:*")):  # for the worker that takes it
        assert time.monotonic() - gone < 2.5, "the request is still waited for"
        time.sleep(0.05)
    broker.close()


def test_without_a_generation_worker_the_answer_is_503(web: WebProcess) -> None:
    with web.client() as client:
        answer = client.post("/v1/completions", json={"model": give_model(web), "prompt": "x"})

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_worker"


def test_sigterm_ends_open_event_streams(web: WebProcess) -> None:
    """Also those that have begun at this moment: the signal comes with their first line."""
    followed, ended = threading.Semaphore(0), threading.Semaphore(0)
    with web.client() as client:
        body = {"model": "lstm-tiny", "training_file": upload(client, 1)}
        job_id = client.post("/v1/fine_tuning/jobs", json=body).json()["id"]

        def follow() -> None:
            with client.stream("GET", f"/v1/jobs/{job_id}/events?stream=true") as answer:
                lines = answer.iter_lines()
                next(lines)
                followed.release()
                for _ in lines:
                    pass
            ended.release()

        readers = [threading.Thread(target=follow) for _ in range(20)]
        for reader in readers:
            reader.start()
        assert all(followed.acquire(timeout=30) for _ in readers)
        web.process.send_signal(signal.SIGTERM)

        assert web.process.wait(30) == 0
        assert all(ended.acquire(timeout=30) for _ in readers)


def test_open_event_streams_hold_no_threads(web: WebProcess) -> None:
    process = psutil.Process(web.process.pid).children()[0]
    with web.client() as client, ExitStack() as stack:
        body = {"model": "lstm-tiny", "training_file": upload(client, 1)}
        job_id = client.post("/v1/fine_tuning/jobs", json=body).json()["id"]
        before = process.num_threads()
        path = f"{web.url}/v1/jobs/{job_id}/events?stream=true&progress=true"
        headers = dict(client.headers)
        lines = []
        for _ in range(30):
            answer = stack.enter_context(httpx.stream("GET", path, headers=headers, timeout=10))
            lines.append(answer.iter_lines())
            assert "event: progress" in lines[-1]  # and so all that was there before
        assert process.num_threads() <= before + 3

        began = time.perf_counter()
        client.post(f"/v1/jobs/{job_id}/cancel")
        for each in lines:
            assert "event: cancelled" in each
            assert list(each)[-2] == "data: {}"  # the answer has a whole end
        assert time.perf_counter() - began < 2


def test_what_never_becomes_a_stream_keeps_no_place(web: WebProcess) -> None:
    """A process has so many places for streams: no refusal and no HEAD may keep one."""
    with web.client() as client:
        body = {"model": "lstm-tiny", "training_file": upload(client, 1)}
        job_id = client.post("/v1/fine_tuning/jobs", json=body).json()["id"]
        path = f"/v1/jobs/{job_id}/events?stream=true"
        for _ in range(STREAMS + 1):
            assert client.head(path).status_code == 200
            assert client.get(path, headers={"Last-Event-ID": "x"}).status_code == 400
            assert client.head("/live").status_code == 200

        with client.stream("GET", path) as answer:
            assert answer.status_code == 200
            assert next(answer.iter_lines()).startswith(":")


def test_polls_are_quick(web: WebProcess) -> None:
    with web.client() as client:
        body = {"model": "lstm-tiny", "training_file": upload(client, 1)}
        job_id = client.post("/v1/fine_tuning/jobs", json=body).json()["id"]
        times = []
        for _ in range(200):
            began = time.perf_counter()
            assert client.get(f"/v1/fine_tuning/jobs/{job_id}").status_code == 200
            times.append(time.perf_counter() - began)

    # The target is 10 ms at the 99th percentile; the median holds on a busy machine too.
    assert sorted(times)[100] < 0.01


def test_a_database_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "web.server"],
        cwd=ROOT,
        env={
            "TEXTGEN_HOME": str(tmp_path),
            "TEXTGEN_DATABASE_URL": "mysql://nowhere",
            "TEXTGEN_BROKER_URL": "redis://127.0.0.1:1/0",
            "PORT": str(free_port()),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert found.returncode != 0
    assert "postgresql+psycopg://" in found.stderr
    assert "Traceback" not in found.stderr
