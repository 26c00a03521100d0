"""Keeping what a model knows: which files a training replays, and what is said of lost ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.web.conftest import Caller
from tests.unit.web.test_fine_tuning import ROOT, claim, start
from web.services import Services
from worker.storage.models import NewModel

KEEP = {"hyperparameters": {"replay_fraction": 0.3}}


@pytest.fixture
def old(call: Caller, upload: Callable[..., str]) -> str:
    return upload(b"an old text\n", name="old.txt")


@pytest.fixture
def base(call: Caller, services: Services, old: str) -> str:
    """A model that was trained here on ``old``."""
    options = {"validation_fraction": 0.2, "format": "lines", "max_steps": 5}
    return trained_on(call, services, old, options)


def trained_on(call: Caller, services: Services, file_id: str, options: dict[str, Any]) -> str:
    start(call, file_id, hyperparameters=options)
    job = claim(services)
    artifact = f"jobs/{job.id}/1/step-1"
    new = NewModel("ft:base", "acme", artifact, "checkpoint.safetensors")
    services.jobs.save_checkpoint(job, artifact=artifact, step=1, metrics={}, publish_model=new)
    services.jobs.succeed(job, {})
    return new.id


def refused(call: Caller, body: dict[str, Any]) -> dict[str, Any]:
    answer = call("POST", ROOT, json=body)
    assert answer.status_code == 400, answer.text
    return dict(answer.get_json()["error"])


def test_a_fraction_alone_takes_the_files_of_the_model_as_they_were_read(
    call: Caller, upload: Callable[..., str], services: Services, base: str, old: str
) -> None:
    body = start(call, upload(), model=base, **KEEP)

    assert body["replay_files"] == [old]
    replay = services.jobs.get("acme", body["id"]).spec["replay"]
    assert [file["id"] for file in replay["files"]] == [old]
    assert replay["hyperparameters"] == {"validation_fraction": 0.2, "format": "lines"}
    # They stay while the training lives.
    assert call("DELETE", f"/v1/files/{old}").status_code == 409


def test_labels_of_an_old_text_are_left_aside(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    table = upload(b"review,stars\nfine,5\n", name="reviews.csv")
    reading = {"column": "review", "label_column": "stars", "encoding": "utf-8"}
    classes = {"objectives": {"causal": 1, "classify": 1}, **reading}
    base = trained_on(call, services, table, classes)

    job_id = start(call, upload(), model=base, **KEEP)["id"]

    replay = services.jobs.get("acme", job_id).spec["replay"]
    assert replay["hyperparameters"] == {"column": "review", "encoding": "utf-8"}


def test_other_files_can_be_named(
    call: Caller, upload: Callable[..., str], services: Services, model: str
) -> None:
    further = upload(b"a further text\n")

    body = start(call, upload(), model=model, replay_files=[further])

    assert body["replay_files"] == [further]
    assert services.jobs.get("acme", body["id"]).spec["replay"]["files"][0]["id"] == further
    assert call("DELETE", f"/v1/files/{further}").status_code == 409


def test_nothing_is_replayed_where_nothing_is_said(
    call: Caller, upload: Callable[..., str], services: Services, base: str
) -> None:
    body = start(call, upload(), model=base)

    assert body["replay_files"] == []
    assert services.jobs.get("acme", body["id"]).spec["replay"] is None


def test_deleted_files_are_named_with_the_way_out(
    call: Caller, upload: Callable[..., str], base: str, old: str
) -> None:
    assert call("DELETE", f"/v1/files/{old}").status_code == 200

    error = refused(call, {"model": base, "training_file": upload(), **KEEP})

    assert (error["code"], error["param"]) == (
        "replay_files_gone",
        "hyperparameters.replay_fraction",
    )
    assert "'old.txt'" in error["message"] and "replay_files" in error["message"]


def test_a_model_from_elsewhere_has_no_files_here(
    call: Caller, upload: Callable[..., str], model: str
) -> None:
    error = refused(call, {"model": model, "training_file": upload(), **KEEP})

    assert error["code"] == "replay_files_gone"
    assert "not trained here" in error["message"]


@pytest.mark.parametrize("more", [KEEP, {"replay_files": ["file-none"]}])
def test_a_preset_has_nothing_to_keep(
    call: Caller, upload: Callable[..., str], more: dict[str, Any]
) -> None:
    error = refused(call, {"model": "lstm-tiny", "training_file": upload(), **more})

    assert error["code"] == "nothing_to_keep"


def test_a_file_that_is_not_there(call: Caller, upload: Callable[..., str], model: str) -> None:
    body = {"model": model, "training_file": upload(), "replay_files": ["file-none"]}

    assert refused(call, body)["param"] == "replay_files"
