"""Answers that are streams of server-sent events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Response


def stream_response(events: Iterator[str], *on_close: Callable[[], object]) -> Response:
    """Send ``events`` as they come; ``on_close`` runs at the end, whoever ends it."""
    response = Response(events, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the events back
    for action in on_close:
        response.call_on_close(action)
    return response
