"""Event files for TensorBoard, read by another project's definitions of them."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable

import pytest

from tests.unit.web.conftest import Caller
from web.services import Services
from worker.jobs.rows import Job, JobEvent
from worker.training.tensorboard import event_file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboardX.crc32c import crc32c
    from tensorboardX.proto.event_pb2 import Event


def masked(data: bytes) -> int:
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read(content: bytes) -> list[Event]:
    """The events of a file, every checksum compared."""
    found = []
    while content:
        length, of_length = struct.unpack("<QI", content[:12])
        data, (of_data,) = (
            content[12 : 12 + length],
            struct.unpack("<I", content[12 + length :][:4]),
        )
        assert of_length == masked(content[:8])
        assert of_data == masked(data)
        found.append(Event.FromString(data))
        content = content[16 + length :]
    return found


def measurement(number: int, step: int, **values: float) -> JobEvent:
    data = {"step": step, "total_steps": 1000, **values}
    return JobEvent("ftjob-1", number, 1700000000.5 + number, "info", "metrics", "", data)


def curves(events: list[Event]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, round(value.simple_value, 4)))
    return found


def test_curves_by_step() -> None:
    events = read(
        b"".join(
            event_file(
                [
                    JobEvent("ftjob-1", 1, 1.0, "info", "queued", "", {}),
                    measurement(2, 10, train_loss=3.25),
                    measurement(3, 300, train_loss=2.5, valid_loss=2.75, full_valid_loss=2.5),
                    # From here on again, since the worker was lost.
                    measurement(4, 10, train_loss=3.0),
                    measurement(5, 20, train_loss=float("nan"), epsilon_spent=0.5),
                ]
            )
        )
    )

    assert events[0].file_version == "brain.Event:2"
    assert [event.step for event in events[1:]] == [10, 20, 300]
    assert events[1].wall_time == 1700000004.5
    assert curves(events) == {
        "train/loss": [(10, 3.0), (300, 2.5)],
        "valid/loss": [(300, 2.75)],
        "full_valid/loss": [(300, 2.5)],
        "epsilon_spent": [(20, 0.5)],
    }


def test_a_training_without_measurements_has_a_file_too() -> None:
    assert [event.file_version for event in read(b"".join(event_file([])))] == ["brain.Event:2"]


@pytest.fixture
def job(call: Caller, upload: Callable[..., str], services: Services) -> Job:
    body = {"model": "lstm-tiny", "training_file": upload()}
    call("POST", "/v1/fine_tuning/jobs", json=body)
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None
    return claimed


def test_the_file_of_a_training_that_runs(call: Caller, services: Services, job: Job) -> None:
    for step in (1, 2):
        data = {"step": step, "total_steps": 9, "train_loss": 4.0 / step}
        services.jobs.add_event(job, type="metrics", message="", data=data)

    answer = call("GET", f"/v1/jobs/{job.id}/tensorboard")

    assert f".{job.id}" in answer.headers["Content-Disposition"]
    assert curves(read(answer.data)) == {"train/loss": [(1, 4.0), (2, 2.0)]}
    assert f"/v1/jobs/{job.id}/tensorboard" in call("GET", f"/jobs/{job.id}").text


def test_other_jobs_have_none(call: Caller, services: Services) -> None:
    job = services.jobs.submit("acme", "batch", {})

    answer = call("GET", f"/v1/jobs/{job.id}/tensorboard")

    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "job_not_a_training"
