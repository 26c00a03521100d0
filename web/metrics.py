"""What Prometheus reads of one web process: requests, their latency, the errors that they got."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from flask import current_app
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric
from werkzeug.routing import Rule

from worker.metrics.exposition import merged

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The figures of one web process, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "textgen_http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "textgen_http_request_seconds",
            "Seconds until an answer began.",
            ("route", "method"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._errors = Counter(
            "textgen_http_errors",
            "Errors told to clients, also in the middle of a stream, by their code.",
            ("code",),
            registry=self._registry,
        )

    @staticmethod
    def of_app() -> Metrics:
        """The metrics of the app that handles the current request."""
        return cast(Metrics, current_app.extensions["textgen-metrics"])

    def observe(self, rule: Rule | None, method: str, status: int, seconds: float) -> None:
        """Count one request; unknown paths share a label, as methods do: none floods the series."""
        route = "unknown" if rule is None else rule.rule
        method = method_label(method)
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def failed(self, code: str) -> None:
        """Count an error that a client got; codes are those of the errors page."""
        self._errors.labels(code).inc()

    def render(self, registry: CollectorRegistry, families: Iterable[Metric]) -> bytes:
        """All figures in Prometheus' text format: this process', its jobs', and these."""
        whole = _Fixed(merged([*self._registry.collect(), *registry.collect(), *families]))
        return generate_latest(whole)


def method_label(method: str) -> str:
    """A request's method where HTTP has it, else other: clients may invent as many as they like."""
    return method if method in METHODS else "other"


class _Fixed(CollectorRegistry):
    """Families that were collected before."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__()
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        """Called by the exposition."""
        return iter(self._families)
