"""Storage on S3, by a server that speaks it: what a folder and memory cannot show.

`test_artifacts` runs whole on it too.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest

from tests.s3_server import S3Server
from tests.stack import ROOT, Stack, completion_lines, wait_for, wait_for_batch
from worker.storage.artifacts import ArtifactStore

pytestmark = pytest.mark.slow
_NUMBERS = itertools.count()
PART = 16 * 2**20  # of an upload in parts

ELSEWHERE = """
import os, signal, sys
from pathlib import Path
from worker.storage.artifacts import ArtifactStore

store = ArtifactStore(sys.argv[1], Path(sys.argv[2]))

def publish(name, **files):
    with store.create(name) as staging:
        for file, size in files.items():
            with staging.open(file) as stream:
                stream.write(b"x" * size)
        staging.commit()

"""


@pytest.fixture
def url(s3: S3Server) -> str:
    return f"s3://textgen-{next(_NUMBERS)}/prefix"


@pytest.fixture
def store(url: str, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(url, tmp_path / "cache")


def elsewhere(url: str, folder: Path, what: str) -> int:
    """What another process does with the same storage; its exit status."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE + what, url, str(folder / "elsewhere")],
        cwd=ROOT,
        check=False,
    )
    return done.returncode


def publish(store: ArtifactStore, name: str, data: bytes = b"x") -> None:
    with store.create(name) as staging:
        with staging.open("a") as stream:
            stream.write(data)
        staging.commit()


def test_what_other_processes_do_is_seen_at_once(
    store: ArtifactStore, url: str, tmp_path: Path
) -> None:
    publish(store, "jobs/1/a")
    assert list(store.list("jobs")) == ["jobs/1/a"]  # it has looked

    assert elsewhere(url, tmp_path, "publish('jobs/1/b', a=1); store.delete('jobs/1/a')") == 0

    assert list(store.list("jobs")) == ["jobs/1/b"]
    assert store.local_path("jobs/1/b", "a").read_bytes() == b"x"
    with pytest.raises(FileExistsError):
        publish(store, "jobs/1/b")
    with pytest.raises(FileNotFoundError):
        store.get("jobs/1/a")
    publish(store, "jobs/1/a")


def test_a_process_that_is_killed_while_it_stores_leaves_no_artifact(
    store: ArtifactStore, url: str, tmp_path: Path
) -> None:
    """Two files are there, the manifest is not."""
    killed = """
seen = []
real = store._backend._put
def put(*arguments):
    seen.append(arguments)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*arguments)
store._backend._put = put
publish("files/a", a=1, b=1)
"""
    assert elsewhere(url, tmp_path, killed) == -signal.SIGKILL

    assert list(store.list()) == []
    assert list(store.unfinished("files", older_than_seconds=-5)) == ["files/a"]
    with pytest.raises(FileNotFoundError):
        store.get("files/a")
    store.delete("files/a")
    assert list(store.unfinished("files", older_than_seconds=-5)) == []


def test_a_file_of_several_parts(store: ArtifactStore, url: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * (2 * PART // 256) + b"end"
    publish(store, "files/large", data)

    assert store.local_path("files/large", "a").read_bytes() == data
    with store.open("files/large", "a", len(data) - 2) as stream:
        assert stream.read() == b"nd"
    with store.open("files/large", "a", PART - 1) as stream:
        assert stream.read(3) == data[PART - 1 : PART + 2]
    store.quarantine("files/large")
    assert list(store.list(quarantined=True)) == ["files/large"]


def test_a_server_that_is_away_is_an_oserror_and_comes_back(
    store: ArtifactStore, s3: S3Server, tmp_path: Path
) -> None:
    """Whoever works on a job waits for it then; other errors would end the job."""
    publish(store, "files/a", bytes(9 * 2**20))
    stream = store.open("files/a", "a")
    assert len(stream.read(10)) == 10

    s3.kill()
    try:
        for call in (
            lambda: publish(store, "files/b"),
            lambda: stream.read(),
            lambda: store.get("files/a"),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert not isinstance(caught.value, FileNotFoundError)
    finally:
        s3.start()

    publish(store, "files/b")
    assert list(store.list()) == ["files/b"]  # the server's memory went with it
    with pytest.raises(FileNotFoundError):
        store.verify("files/a")


def test_a_whole_service_on_it(s3: S3Server, url: str, tmp_path: Path) -> None:
    """A training is killed and goes on from its checkpoint; its model answers a batch."""
    text = "\n".join(f"The king speaks to the {word}." for word in ("sea", "moon", "crown")) * 60
    values = {"max_steps": 600, "batch_size": 8, "sequence_length": 32}
    environment = {**s3.environment, "TEXTGEN_STORAGE_URL": url}
    with Stack(tmp_path / "home", **environment) as stack, stack.client() as client:
        job = client.fine_tuning.jobs.create(
            model="lstm-tiny",
            training_file=client.files.create(
                file=("king.txt", text.encode()), purpose="fine-tune"
            ).id,
            extra_body={"hyperparameters": values},
        )
        deadline = time.monotonic() + 180
        while not client.fine_tuning.jobs.checkpoints.list(job.id).data:
            assert time.monotonic() < deadline, "no checkpoint"
            time.sleep(0.05)
        (child,) = stack.processes("worker.training.child")
        child.kill()
        ended = wait_for(client, job.id)
        lines = completion_lines(ended.fine_tuned_model, 20)
        made = client.batches.create(
            input_file_id=client.files.create(file=("b.jsonl", lines), purpose="batch").id,
            endpoint="/v1/completions",
            completion_window="24h",
        )
        batch = wait_for_batch(client, made.id)
        answers = client.files.content(batch.output_file_id).text.splitlines()
        metrics = client.files.content(ended.result_files[0]).text
        checked = stack.cli("admin", "check", "--deep", "--min-age", "0")
        s3.kill()
        try:
            with pytest.raises(openai.InternalServerError) as away:
                client.with_options(max_retries=0).files.content(batch.output_file_id)
        finally:
            s3.start()

    assert batch.status == "completed" and batch.request_counts.completed == 20
    assert [json.loads(line)["custom_id"] for line in answers] == [f"line-{n}" for n in range(20)]
    assert metrics.startswith("step,")
    assert (checked.returncode, checked.stdout) == (0, "Nothing is wrong.\n")
    assert (away.value.status_code, away.value.code) == (503, "storage_unavailable")
