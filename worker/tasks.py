"""The Celery tasks. Each is a few lines over a part that knows nothing of Celery."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery

from textgen.options import SamplingOptions
from worker import logs, tracing
from worker.contracts import GENERATE_TASK, WAKE_TASK, BundleReference, GenerateRequest
from worker.errors import CorruptArtifact, Unavailable
from worker.generation.answers import Answers
from worker.processes.runner import Runner
from worker.storage.artifacts import ArtifactStore

LOG = logging.getLogger(__name__)


def register_wake(app: Celery, runner: Runner) -> None:
    """The wake-up: its argument, the queue's name, is for people who watch; the row decides."""

    @app.task(name=WAKE_TASK, shared=False)  # type: ignore[untyped-decorator]
    def wake(queue: str) -> None:
        LOG.debug("woken for %s", queue)
        runner.run_due()


def register_generate(app: Celery, answers: Answers, store: ArtifactStore) -> None:
    """An interactive request: handed to the engine, the answer leaves by itself."""

    @app.task(name=GENERATE_TASK, shared=False)  # type: ignore[untyped-decorator]
    def generate(message: dict[str, Any]) -> None:
        request = received(message, answers)
        if request is not None:
            hand_on(request, answers, store)


def received(message: dict[str, Any], answers: Answers) -> GenerateRequest | None:
    """The request of a message; one that cannot be read is refused, and None."""
    try:
        return GenerateRequest.received(message)
    except Unavailable as error:
        LOG.error("the request %s cannot be read: %s", message.get("id"), error.message)
        answers.refuse(_readable_part(message), error.as_dict())
        return None


def _readable_part(message: dict[str, Any]) -> GenerateRequest:
    """Of a message what says to whom it is answered."""
    return GenerateRequest(
        id=str(message.get("id", "")),
        reader=str(message.get("reader", "")),
        bundle=BundleReference(artifact="", file=""),
        prompts=("",),
        options=SamplingOptions(),
        seed=0,
    )


def hand_on(request: GenerateRequest, answers: Answers, store: ArtifactStore) -> None:
    """Give a request to the engine, or refuse it."""
    about = {"request_id": request.request_id, "tenant": request.tenant}
    context = tracing.parent(request.traceparent)
    with logs.bound(**about), tracing.span(f"{GENERATE_TASK} receive", context):
        try:
            path = store.local_path(request.bundle.artifact, request.bundle.file)
        except (FileNotFoundError, CorruptArtifact, OSError) as error:
            LOG.warning("the model's file %s cannot be read: %s", request.bundle.artifact, error)
            answers.refuse(request, _unreadable(error))
            return
        if request.traceparent:  # what the engine does comes after this, not beside it
            carried = {"traceparent": tracing.traceparent() or request.traceparent}
            request = request.model_copy(update=carried)
        answers.accept(request, path)


def _unreadable(error: Exception) -> dict[str, Any]:
    message = f"The model's file cannot be read: {error}"
    return {"code": "model_unreadable", "message": message, "param": "model"}
