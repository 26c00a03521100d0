"""OpenTelemetry traces from a request through its message or its job into the engine.

Off by default: without a provider nothing is made, and what would be carried along stays empty. The
trace of a request travels as W3C's ``traceparent``: in the message of an interactive request, in
the row of a job. What is done for it, by whichever process and however much later, is a child of
the request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NoOpTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker import logs
from worker.errors import InvalidSetting
from worker.settings import Settings

LOG = logging.getLogger(__name__)

NAME = "textgen"
HEADER = "traceparent"
NANOSECONDS = 1e9
_PROPAGATOR = TraceContextTextMapPropagator()
Values = Mapping[str, str | int | float | bool]


class _Tracing:
    """What this process traces with."""

    def __init__(self) -> None:
        self.use(None)

    def use(self, provider: TracerProvider | None) -> None:
        self.on = provider is not None
        self.tracer = (NoOpTracerProvider() if provider is None else provider).get_tracer(NAME)


_TRACING = _Tracing()


def enabled() -> bool:
    """Whether this process traces."""
    return _TRACING.on


def use(provider: TracerProvider | None) -> None:
    """Trace with this provider from now on; None: not at all."""
    _TRACING.use(provider)
    logs.also_tell(current_ids)


def set_up_tracing(settings: Settings, process: str) -> None:
    """Trace as the settings say: with ``otlp`` to the collector that OpenTelemetry's own variables
    name. Raises InvalidSetting where the packages for it are missing.
    """
    start_exporting(settings.traces, process)


def start_exporting(traces: str, process: str) -> None:
    """As `set_up_tracing`, by the setting's value alone."""
    if traces == "off":
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise InvalidSetting(
            f"TEXTGEN_TRACES is {traces!r}, and a package for it is missing ({error.name}): "
            "install opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http.",
            param="TEXTGEN_TRACES",
        ) from None
    provider = SdkProvider(resource=Resource.create({"service.name": f"{NAME}-{process}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)


def parent(traceparent: str | None) -> Context | None:
    """The context of a trace that came from elsewhere; None without one, or with tracing off."""
    if not traceparent or not _TRACING.on:
        return None
    return _PROPAGATOR.extract({HEADER: traceparent}, Context())


def traceparent() -> str:
    """What carries the current span elsewhere; empty where there is none."""
    if not _TRACING.on:
        return ""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(HEADER, "")


def start(
    name: str,
    context: Context | None,
    kind: SpanKind = SpanKind.SERVER,
    values: Values | None = None,
) -> Span:
    """Begin a span, which its maker ends; its root where ``context`` is None."""
    context = Context() if context is None else context
    return _TRACING.tracer.start_span(name, context, kind, attributes=values)


def enter(span: Span) -> object:
    """Make a span the current one of this thread; give what comes back to `leave`."""
    return contexts.attach(trace.set_span_in_context(span))


def leave(token: object) -> None:
    """Undo `enter`."""
    contexts.detach(token)  # type: ignore[arg-type]


@contextmanager
def span(
    name: str,
    context: Context | None,
    kind: SpanKind = SpanKind.CONSUMER,
    values: Values | None = None,
) -> Iterator[Span]:
    """A span around the block, current within it; what is raised stands in it."""
    if not _TRACING.on:
        yield trace.INVALID_SPAN
        return
    made = start(name, context, kind, values)
    with trace.use_span(made, end_on_exit=True):
        yield made


def record(
    name: str,
    context: Context | None,
    began: float,
    ended: float,
    values: Values,
    events: Mapping[str, float],
    *,
    failed: str = "",
) -> None:
    """A span of what is over already; times are seconds since 1970. Nothing without a parent."""
    if context is None or not _TRACING.on:
        return
    made = _TRACING.tracer.start_span(
        name, context, SpanKind.INTERNAL, attributes=values, start_time=int(began * NANOSECONDS)
    )
    for event, at in events.items():
        made.add_event(event, timestamp=int(at * NANOSECONDS))
    if failed:
        made.set_status(Status(StatusCode.ERROR, failed))
    made.end(int(ended * NANOSECONDS))


def note(name: str, values: Values | None = None) -> None:
    """An event of the current span, if there is one."""
    if _TRACING.on:
        trace.get_current_span().add_event(name, values)


def current_ids() -> dict[str, str]:
    """Trace and span of now, as logs name them; empty where there are none."""
    if not _TRACING.on:
        return {}
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return {}
    return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}
