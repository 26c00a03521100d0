"""The native view of jobs, and their events as a stream that can be taken up again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.web.conftest import Caller
from web.connection import Client
from web.job_events import follow
from web.services import Services
from worker.jobs.rows import Job


@pytest.fixture
def job(call: Caller, upload: Callable[..., str], services: Services) -> Job:
    body = {"model": "lstm-tiny", "training_file": upload()}
    job_id = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]
    return services.jobs.get("acme", job_id)


def blocks(text: str) -> list[dict[str, str]]:
    """The events of a stream as field → value; comments left out."""
    found = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in found]


def numbers(text: str) -> list[int]:
    return [int(block["id"]) for block in blocks(text) if "id" in block]


def test_a_queued_job_says_why_it_waits(call: Caller, job: Job) -> None:
    body = call("GET", f"/v1/jobs/{job.id}").get_json()

    assert (body["state"], body["kind"]) == ("queued", "training")
    assert body["waiting"]["reason"] == "no_worker"
    assert body["waiting"]["position"] == 0


def test_storage_is_not_shown(call: Caller, job: Job) -> None:
    spec = call("GET", f"/v1/jobs/{job.id}").get_json()["spec"]

    assert set(spec["files"][0]) == {"id", "filename"}
    assert "artifact" not in json.dumps(spec["files"])


def test_lists(call: Caller, job: Job, services: Services) -> None:
    assert [found["id"] for found in call("GET", "/v1/jobs").get_json()["data"]] == [job.id]
    assert call("GET", "/v1/jobs?kind=batch").get_json()["data"] == []
    assert call("GET", "/v1/jobs?state=running").get_json()["data"] == []
    assert call("GET", "/v1/jobs?state=strange").status_code == 400


def test_cancel_waits_for_the_worker(call: Caller, job: Job, services: Services) -> None:
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None

    def obey() -> None:
        while not services.jobs.heartbeat(claimed).cancel:
            pass
        services.jobs.cancelled(claimed)

    worker = threading.Thread(target=obey)
    worker.start()
    body = call("POST", f"/v1/jobs/{job.id}/cancel").get_json()
    worker.join()

    assert body["state"] == "cancelled"


def test_retry_is_a_new_job(call: Caller, job: Job, services: Services) -> None:
    assert call("POST", f"/v1/jobs/{job.id}/retry").status_code == 409
    call("POST", f"/v1/jobs/{job.id}/cancel")

    again = call("POST", f"/v1/jobs/{job.id}/retry").get_json()

    assert again["retry_of"] == job.id and again["state"] == "queued"


def test_pause_and_resume(call: Caller, job: Job, services: Services) -> None:
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None
    services.jobs.request_pause("acme", job.id)
    services.jobs.paused(claimed)

    assert call("POST", f"/v1/jobs/{job.id}/pause").get_json()["state"] == "paused"
    assert call("POST", f"/v1/jobs/{job.id}/resume").get_json()["state"] == "queued"


def test_events_page_from_the_oldest(call: Caller, job: Job, services: Services) -> None:
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None
    for number in range(5):
        services.jobs.add_event(claimed, type="note", message=str(number))

    first = call("GET", f"/v1/jobs/{job.id}/events?limit=4").get_json()
    rest = call("GET", f"/v1/jobs/{job.id}/events?after={first['data'][-1]['id']}").get_json()

    assert [event["id"] for event in first["data"] + rest["data"]] == list(range(1, 8))
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_a_stream_ends_with_the_job(call: Caller, job: Job) -> None:
    call("POST", f"/v1/jobs/{job.id}/cancel")

    found = blocks(call("GET", f"/v1/jobs/{job.id}/events?stream=true").text)

    assert [block["event"] for block in found] == ["queued", "cancelled", "end"]
    assert "id" not in found[-1]
    assert json.loads(found[0]["data"])["message"]


@pytest.mark.parametrize("cut_after", range(5))
def test_a_stream_cut_anywhere_goes_on_without_gap_or_repeat(
    call: Caller, job: Job, services: Services, cut_after: int
) -> None:
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None
    moments = follow(services, "acme", job.id, 0, Client(None))
    first = [next(moments) for _ in range(2)]
    services.jobs.add_event(claimed, type="note", message="three")
    services.jobs.add_event(claimed, type="note", message="four")
    services.jobs.succeed(claimed, {})
    seen = numbers("".join([*first, *moments]))[:cut_after]
    headers = {"Last-Event-ID": str(seen[-1])} if seen else {}

    rest = call("GET", f"/v1/jobs/{job.id}/events?stream=true", headers=headers).text

    assert seen + numbers(rest) == [1, 2, 3, 4, 5]


def test_events_written_while_following_arrive(job: Job, services: Services) -> None:
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None

    def work() -> None:
        for number in range(20):
            services.jobs.add_event(claimed, type="note", message=str(number))
        services.jobs.succeed(claimed, {})

    worker = threading.Thread(target=work)
    worker.start()
    text = "".join(follow(services, "acme", job.id, 0, Client(None)))
    worker.join()

    assert numbers(text) == list(range(1, 24))
    assert blocks(text)[-1]["event"] == "end"


def test_a_strange_last_event_id(call: Caller, job: Job) -> None:
    answer = call("GET", f"/v1/jobs/{job.id}/events?stream=true", headers={"Last-Event-ID": "x"})

    assert answer.status_code == 400


def test_stopping_ends_the_streams(job: Job, services: Services) -> None:
    moments: Any = follow(services, "acme", job.id, 0, Client(None))
    next(moments)

    services.stopping.set()

    assert list(moments) == []
