"""A request's trace from HTTP through the message, or the job's row, into the engine."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from flask import Flask
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.random_models import BundleMaker
from tests.unit.web.conftest import Caller
from tests.unit.web.in_process import InProcessCompletions
from textgen.bundles.bundle import save_bundle
from web.services import Services
from worker import tracing
from worker.contracts import GenerateRequest
from worker.errors import InvalidSetting
from worker.generation.engine_host import EngineHost
from worker.generation.engine_process import EngineServer
from worker.logs import JsonLines
from worker.processes.identity import Identity
from worker.processes.runner import Runner
from worker.tasks import hand_on

CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLERS_SPAN = "00f067aa0ba902b7"
HEADER = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"}


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Where the spans of this process go."""
    found = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    tracing.use(provider)
    yield found
    tracing.use(None)
    provider.shutdown()


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def id_of(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


class HandedOn:
    """Takes the place of the worker's answers: keeps what the engine would get."""

    def __init__(self) -> None:
        self.requests: list[GenerateRequest] = []

    def accept(self, request: GenerateRequest, _: Path) -> None:
        self.requests.append(request)


def run_engine(request: GenerateRequest, path: Path) -> None:
    """Have an engine server, in this process, answer a request."""
    ours, theirs = Pipe()
    host = EngineHost(device="cpu", slots=2, cache_bytes=10**9)
    thread = threading.Thread(target=EngineServer(cast(Any, theirs), host).serve)
    thread.start()
    ours.send_bytes(
        json.dumps([["submit", request.model_dump(mode="json"), str(path), True]]).encode()
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = json.loads(ours.recv_bytes())
        if isinstance(message, list) and any(report[2] is not None for report in message):
            break
    ours.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_completion_from_its_caller_to_the_engine(
    exporter: InMemorySpanExporter,
    call: Caller,
    worker: InProcessCompletions,
    model: str,
    make_bundle: BundleMaker,
    tmp_path: Path,
) -> None:
    body = {"model": model, "prompt": "ab", "max_tokens": 3}
    answer = call("POST", "/v1/completions", json=body, headers=HEADER)
    assert answer.status_code == 200
    [request] = worker.requests
    assert request.request_id == answer.headers["x-request-id"]

    # What travels goes through Celery's task to the engine.
    handed, path = HandedOn(), tmp_path / "model.safetensors"
    bundle = make_bundle()
    save_bundle(path, bundle.header, bundle.model.state_dict())
    store = SimpleNamespace(local_path=lambda *_: path)
    hand_on(request, cast(Any, handed), cast(Any, store))
    run_engine(handed.requests[0], path)

    spans = by_name(exporter)
    http, task, engine = (
        spans[name]
        for name in ("POST /v1/completions", "textgen.generate receive", "engine generate")
    )
    assert {trace_of(span) for span in (http, task, engine)} == {CALLERS_TRACE}
    assert parent_of(http) == CALLERS_SPAN
    assert parent_of(task) == id_of(http)
    assert parent_of(engine) == id_of(task)
    assert http.attributes is not None and engine.attributes is not None
    assert http.attributes["http.response.status_code"] == 200
    assert http.attributes["textgen.request_id"] == request.request_id
    assert engine.attributes["gen_ai.usage.output_tokens"] == 3
    assert engine.attributes["gen_ai.request.model"] == model
    assert [event.name for event in engine.events] == ["first_token"]
    assert engine.start_time is not None and engine.end_time is not None
    assert engine.start_time <= engine.events[0].timestamp <= engine.end_time


def test_a_jobs_run_is_a_child_of_its_request(
    exporter: InMemorySpanExporter, call: Caller, upload: Callable[..., str], services: Services
) -> None:
    body = {"model": "lstm-tiny", "training_file": upload()}
    call("POST", "/v1/fine_tuning/jobs", json=body, headers=HEADER)
    seen: list[str] = []

    def run(job: Any, draining: Callable[[], bool]) -> None:
        record = logging.makeLogRecord({"msg": "at work"})
        seen.append(JsonLines("train").format(record))
        tracing.note("plan")
        services.jobs.fail(job, {"code": "poison", "message": "x", "param": None})

    Runner(services.jobs, "training", Identity("w", "a", cast(Any, None)), 1, run).run_due()

    spans = by_name(exporter)
    http, job = spans["POST /v1/fine_tuning/jobs"], spans["training run"]
    assert trace_of(job) == CALLERS_TRACE
    assert parent_of(job) == id_of(http)
    assert [event.name for event in job.events] == ["plan"]
    assert CALLERS_TRACE in seen[0] and id_of(job) in seen[0]


def test_off_nothing_is_made_or_carried(
    call: Caller, worker: InProcessCompletions, model: str, upload: Callable[..., str]
) -> None:
    body = {"model": model, "prompt": "ab", "max_tokens": 3}
    call("POST", "/v1/completions", json=body, headers=HEADER)

    assert worker.requests[0].traceparent == ""
    assert not tracing.enabled()
    assert tracing.parent(HEADER["traceparent"]) is None
    assert tracing.current_ids() == {}


def test_a_request_without_a_trace_begins_one(exporter: InMemorySpanExporter, call: Caller) -> None:
    call("GET", "/v1/files/file-none")

    (span,) = exporter.get_finished_spans()
    assert span.name == "GET /v1/files/<file_id>" and span.parent is None
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 404


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)

    with pytest.raises(InvalidSetting, match="opentelemetry-exporter-otlp-proto-http"):
        tracing.start_exporting("otlp", "web")


def test_an_invented_method_names_no_span(app: Flask, exporter: InMemorySpanExporter) -> None:
    app.test_client().open("/v1/models", method="INVENTED")

    (span,) = exporter.get_finished_spans()
    assert span.name == "other /v1/models"
    assert span.attributes is not None
    assert span.attributes["http.request.method"] == "other"
