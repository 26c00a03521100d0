"""Celery as this project uses it: JSON wake-ups and requests, acknowledged early, no results.

SQL is the only truth, so a lost or doubled message costs time, never a job. Celery takes a
misspelt setting silently: a test holds every name here against Celery's own table.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from worker.contracts import BATCH, GENERATE_TASK, INTERACTIVE, TRAINING
from worker.settings import Settings

# A publisher must not hold up its caller: one short try, then the reconciler's wake-up does it.
PUBLISHER_TRANSPORT: dict[str, Any] = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "socket_timeout": 2.0,
    "socket_connect_timeout": 0.5,
}
# A consumer waits for Redis for ever, and notices a half-open connection.
CONSUMER_TRANSPORT: dict[str, Any] = {
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


def make_publisher(settings: Settings) -> Celery:
    """A Celery application that only sends."""
    return _make(settings, PUBLISHER_TRANSPORT)


def make_consumer(settings: Settings) -> Celery:
    """A Celery application for a worker; tasks are registered by `worker.tasks`."""
    silence = {"socket_timeout": settings.broker_silence_seconds}
    return _make(settings, CONSUMER_TRANSPORT | silence)


def _make(settings: Settings, transport: dict[str, Any]) -> Celery:
    app = Celery("textgen", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=TRAINING,
        # A request is taken at most once, so that no note of it need be kept until it is done.
        task_queues={
            INTERACTIVE: {"exchange": INTERACTIVE, "routing_key": INTERACTIVE, "no_ack": True}
        },
        task_create_missing_queues=True,
        task_publish_retry=False,
        task_routes={GENERATE_TASK: {"queue": INTERACTIVE}},
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=True,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=transport,
        broker_pool_limit=10,
    )
    return app


def queues_of(role: str) -> tuple[str, ...]:
    """The queues that a worker of this role consumes."""
    return {"train": (TRAINING,), "generate": (INTERACTIVE, BATCH)}[role]
