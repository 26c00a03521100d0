"""What Prometheus reads: requests and their latency, jobs by state and queue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from flask import current_app
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from werkzeug.routing import Rule

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
        self._jobs = Gauge(
            "textgen_jobs", "Jobs by queue and state.", ("queue", "state"), registry=self._registry
        )

    @staticmethod
    def of_app() -> Metrics:
        """The metrics of the app that handles the current request."""
        return cast(Metrics, current_app.extensions["textgen-metrics"])

    def observe(self, rule: Rule | None, method: str, status: int, seconds: float) -> None:
        """Count one request; unknown paths share one label, so that none can flood the series."""
        route = "unknown" if rule is None else rule.rule
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def render(self, jobs: Iterable[tuple[str, str, int]]) -> bytes:
        """All figures in Prometheus' text format; ``jobs`` are (queue, state, count)."""
        self._jobs.clear()
        for queue, state, count in jobs:
            self._jobs.labels(queue, state).set(count)
        return generate_latest(self._registry)
