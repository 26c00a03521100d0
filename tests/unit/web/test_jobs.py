"""The native view of jobs, and their events as a stream that can be taken up again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.unit.web.conftest import Caller
from web.connection import Client
from web.live.watches import JobWatch
from web.services import Services
from worker.jobs.rows import Job
from worker.jobs.tables import job_events
from worker.storage.keys import Key
from worker.tenants.options import TenantOptions
from worker.tenants.tenants import Tenants


@pytest.fixture
def job(call: Caller, upload: Callable[..., str], services: Services) -> Job:
    body = {"model": "lstm-tiny", "training_file": upload()}
    job_id = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]
    return services.jobs.get("acme", job_id)


@pytest.fixture
def key(call: Caller, services: Services) -> Key:
    return services.keys.authenticate(call.key)


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


def test_a_job_that_its_project_holds_back_says_what_ends_that(
    call: Caller, job: Job, upload: Callable[..., str], services: Services
) -> None:
    body = {"model": "lstm-tiny", "training_file": upload()}
    services.tenants.update("acme", TenantOptions.parse({"limits": {"running_jobs": 1}}))
    call("POST", "/v1/fine_tuning/jobs", json=body)
    running = services.jobs.claim("training", "w1")
    assert running is not None
    waiting = next(
        each for each in call("GET", "/v1/jobs").get_json()["data"] if each["state"] == "queued"
    )

    def why() -> dict[str, Any]:
        found: dict[str, Any] = call("GET", f"/v1/jobs/{waiting['id']}").get_json()["waiting"]
        return found

    told = why()
    assert (told["reason"], told["hold"]) == ("quota", "running_jobs")
    assert "1 may run at once" in told["message"]

    # As another process suspends it: this one still takes requests for up to five seconds.
    Tenants(services.database).suspend("acme")
    told = why()
    assert (told["reason"], told["hold"]) == ("quota", "suspended")
    assert "suspended" in told["message"] and "can resume" in told["message"]
    services.tenants.forget("acme")
    refused = call("GET", f"/v1/jobs/{waiting['id']}")
    assert refused.status_code == 403
    assert "queued jobs wait" in refused.get_json()["error"]["message"]


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
    call: Caller, job: Job, key: Key, services: Services, cut_after: int
) -> None:
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None
    moments = services.hub.follow(JobWatch(key, job.id, 0), Client(None))
    first = [next(moments) for _ in range(2)]
    services.jobs.add_event(claimed, type="note", message="three")
    services.jobs.add_event(claimed, type="note", message="four")
    services.jobs.succeed(claimed, {})
    seen = numbers("".join([*first, *moments]))[:cut_after]
    headers = {"Last-Event-ID": str(seen[-1])} if seen else {}

    rest = call("GET", f"/v1/jobs/{job.id}/events?stream=true", headers=headers).text

    assert seen + numbers(rest) == [1, 2, 3, 4, 5]


def test_events_written_while_following_arrive(job: Job, key: Key, services: Services) -> None:
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None

    def work() -> None:
        for number in range(20):
            services.jobs.add_event(claimed, type="note", message=str(number))
        services.jobs.succeed(claimed, {})

    worker = threading.Thread(target=work)
    worker.start()
    text = "".join(services.hub.follow(JobWatch(key, job.id, 0), Client(None)))
    worker.join()

    assert numbers(text) == list(range(1, 24))
    assert blocks(text)[-1]["event"] == "end"


def test_a_strange_last_event_id(call: Caller, job: Job) -> None:
    answer = call("GET", f"/v1/jobs/{job.id}/events?stream=true", headers={"Last-Event-ID": "x"})

    assert answer.status_code == 400


def test_stopping_ends_the_streams(job: Job, key: Key, services: Services) -> None:
    moments: Any = services.hub.follow(JobWatch(key, job.id, 0), Client(None))
    next(moments)

    services.stopping.set()

    assert list(moments) == []


def forget_events(services: Services) -> None:
    """As the retention does when their time is over."""
    with services.database.write() as connection:
        connection.execute(sa.delete(job_events))


def test_who_asks_for_events_that_were_removed_is_told(
    call: Caller, job: Job, services: Services
) -> None:
    call("POST", f"/v1/jobs/{job.id}/cancel")
    forget_events(services)
    path = f"/v1/jobs/{job.id}/events"

    for asked in (
        path,
        f"{path}?after=1",
        f"{path}?stream=true",
        f"/v1/fine_tuning/jobs/{job.id}/events",
    ):
        answer = call("GET", asked)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (410, "events_removed")
    broken_off = call("GET", f"{path}?stream=true", headers={"Last-Event-ID": "1"})
    assert broken_off.status_code == 410
    # nothing is missing for who has seen all
    assert call("GET", f"{path}?after=2").get_json()["data"] == []
    found = blocks(call("GET", f"{path}?stream=true", headers={"Last-Event-ID": "2"}).text)
    assert [block["event"] for block in found] == ["end"]


def test_a_stream_whose_events_are_removed_ends_with_an_error(
    job: Job, call: Caller, key: Key, services: Services
) -> None:
    moments: Any = services.hub.follow(JobWatch(key, job.id, 0), Client(None))
    next(moments)
    call("POST", f"/v1/jobs/{job.id}/cancel")
    forget_events(services)

    found = blocks("".join(moments))

    assert [block["event"] for block in found] == ["error"]
    assert json.loads(found[0]["data"])["error"]["code"] == "events_removed"
