"""What a batch has written, while it runs and after; a new batch of the lines that failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.web.conftest import Caller
from web.services import Services
from worker.jobs.rows import Job

OUTPUT, ERRORS = "output.jsonl", "errors.jsonl"


def line(name: str) -> bytes:
    body = {"model": "m", "prompt": name}
    row = {"custom_id": name, "method": "POST", "url": "/v1/completions", "body": body}
    return json.dumps(row).encode() + b"\n"


def results(names: Sequence[str]) -> bytes:
    return b"".join(json.dumps({"custom_id": name}).encode() + b"\n" for name in names)


@dataclass(frozen=True)
class Counts:
    """What became of a shard's lines."""

    completed: int
    failed: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters_in: int = 0
    characters_out: int = 0
    compute_seconds: float = 0.0


class Worker:
    """Does with batches what a generation worker does."""

    def __init__(self, services: Services, start: Callable[[bytes], str]) -> None:
        self.services = services
        self.start = start

    def begin(self, content: bytes, sizes: Sequence[int]) -> Job:
        self.start(content)
        job = self.services.jobs.claim("batch", "test-worker")
        assert job is not None
        self.services.jobs.plan_shards(job, {"lines": sum(sizes)}, sizes)
        return job

    def shard(self, job: Job, index: int, good: Sequence[str], bad: Sequence[str]) -> None:
        name = f"jobs/{job.id}/1/shard-{index}"
        with self.services.store.create(name) as staging:
            for file, names in ((OUTPUT, good), (ERRORS, bad)):
                with staging.open(file) as stream:
                    stream.write(results(names))
            staging.commit()
        counts = Counts(len(good), len(bad))
        self.services.jobs.finish_shard(job, index, name, counts)

    def end(
        self, job: Job, good: Sequence[str], bad: Sequence[str], *, cancelled: bool = False
    ) -> None:
        ids = {f"{kind}_file_id": self._file(names) for kind, names in
               (("output", good), ("error", bad))}  # fmt: skip
        total = len(good) + len(bad)
        counts = {"total": total, "completed": len(good), "failed": len(bad)}
        result = {**ids, "request_counts": counts}
        if cancelled:
            self.services.jobs.request_cancel("acme", job.id)
            self.services.jobs.cancelled(job, result)
        else:
            self.services.jobs.succeed(job, result)

    def _file(self, names: Sequence[str]) -> str | None:
        if not names:
            return None
        name = f"files/of-{'-'.join(names)}"
        with self.services.store.create(name) as staging:
            with staging.open("content") as stream:
                stream.write(results(names))
            staging.commit()
        return self.services.files.create(
            "acme", filename="results", purpose="batch_output", artifact=name, file="content"
        ).id


@pytest.fixture
def worker_of(call: Caller, services: Services, upload: Callable[..., str]) -> Worker:
    def start(content: bytes) -> str:
        body = {
            "input_file_id": upload(content, "batch", "prompts.v2.jsonl"),
            "endpoint": "/v1/completions",
            "completion_window": "24h",
            "metadata": {"ticket": "7"},
        }
        return str(call("POST", "/v1/batches", json=body).get_json()["id"])

    return Worker(services, start)


def told(call: Caller, job: Job, part: str) -> list[str]:
    answer = call("GET", f"/v1/batches/{job.id}/{part}")
    assert answer.status_code == 200, answer.text
    return [json.loads(each)["custom_id"] for each in answer.text.splitlines()]


def test_finished_parts_can_be_had_while_the_batch_runs(call: Caller, worker_of: Worker) -> None:
    job = worker_of.begin(line("a"), [2, 2, 2])
    assert told(call, job, "output") == told(call, job, "errors") == []

    worker_of.shard(job, 2, ["e", "f"], [])
    worker_of.shard(job, 0, ["a"], ["b"])
    assert told(call, job, "output") == ["a", "e", "f"]
    assert told(call, job, "errors") == ["b"]

    worker_of.end(job, ["a", "c", "d", "e", "f"], ["b"])
    assert told(call, job, "output") == ["a", "c", "d", "e", "f"]
    assert told(call, job, "errors") == ["b"]


def input_of(call: Caller, services: Services, batch: dict[str, Any]) -> bytes:
    return call("GET", f"/v1/files/{batch['input_file_id']}/content").data


def test_failed_lines_become_a_batch_of_their_own(
    call: Caller, worker_of: Worker, services: Services
) -> None:
    content = b"\xef\xbb\xbf" + line("a") + b"\r\n" + line("b") + line("c") + line("d")
    job = worker_of.begin(content, [4])
    assert call("POST", f"/v1/batches/{job.id}/retry_failed").status_code == 409
    worker_of.end(job, ["b", "d"], ["a", "c"])

    batch = call("POST", f"/v1/batches/{job.id}/retry_failed").get_json()

    assert input_of(call, services, batch) == line("a") + line("c")
    again = services.jobs.get("acme", batch["id"])
    assert (again.retry_of, again.state, again.metadata) == (job.id, "queued", {"ticket": "7"})
    assert again.spec["input_file"]["filename"] == "prompts.v2_failed.jsonl"
    assert call("DELETE", f"/v1/files/{batch['input_file_id']}").status_code == 409  # it is used


def test_a_cancelled_batch_goes_on_with_what_it_did_not_come_to(
    call: Caller, worker_of: Worker, services: Services
) -> None:
    job = worker_of.begin(line("a") + line("b") + line("c"), [3])
    worker_of.end(job, ["a"], ["b"], cancelled=True)

    batch = call("POST", f"/v1/batches/{job.id}/retry_failed").get_json()
    assert input_of(call, services, batch) == line("b") + line("c")


def test_the_same_wish_twice_is_one_batch(
    call: Caller, worker_of: Worker, services: Services
) -> None:
    job = worker_of.begin(line("a"), [1])
    worker_of.end(job, [], ["a"])
    headers = {"Idempotency-Key": "once"}

    ids = {
        call("POST", f"/v1/batches/{job.id}/retry_failed", headers=headers).get_json()["id"]
        for _ in range(2)
    }

    assert len(ids) == 1
    kept = [row.filename for row in services.files.list("acme", purpose="batch").items]
    assert kept == ["prompts.v2_failed.jsonl", "prompts.v2.jsonl"]


def test_what_cannot_be_run_again_says_why(
    call: Caller, worker_of: Worker, services: Services
) -> None:
    def code(job: Job) -> str:
        answer = call("POST", f"/v1/batches/{job.id}/retry_failed")
        assert answer.status_code == 409
        return str(answer.get_json()["error"]["code"])

    whole = worker_of.begin(line("a"), [1])
    worker_of.end(whole, ["a"], [])
    assert code(whole) == "no_failed_lines"

    broken = worker_of.begin(b"x\n", [1])
    services.jobs.fail(broken, {"code": "invalid_json_line", "message": "No JSON."})
    assert code(broken) == "batch_never_ran"

    gone = worker_of.begin(line("b") + line("c"), [2])
    worker_of.end(gone, ["b"], ["c"])
    result = services.jobs.get("acme", gone.id).result
    assert result is not None
    assert call("DELETE", f"/v1/files/{result['output_file_id']}").status_code == 200
    assert code(gone) == "batch_file_deleted"
    assert call("GET", f"/v1/batches/{gone.id}/output").status_code == 404
