"""Answers to browsers on the pages of other sites, for the sites that the operator allows."""

from __future__ import annotations

from flask import Flask, Response, request

ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Range"
EXPOSED_HEADERS = "x-request-id, Retry-After, x-should-retry"


def install(app: Flask, origins: str) -> None:
    """``origins`` is the setting: comma separated, ``*`` for every site; empty changes nothing."""
    allowed = {origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()}
    if not allowed:
        return

    def add_headers(response: Response) -> Response:
        origin = request.headers.get("Origin")
        response.vary.add("Origin")
        if origin is None or not allowed & {origin, "*"}:
            return response
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        if request.method == "OPTIONS":
            # OpenAI's client sends a dozen headers of its own: allow what it asks for.
            asked = request.headers.get("Access-Control-Request-Headers", ALLOWED_HEADERS)
            response.headers["Access-Control-Allow-Headers"] = asked
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE"
            response.headers["Access-Control-Max-Age"] = "600"
        return response

    app.after_request(add_headers)
