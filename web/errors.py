"""From exception to HTTP answer, in the envelope that OpenAI's clients read.

The table is `worker.error_answers`, with what is of HTTP alone beside it. Every status has the same
body, ``{"error": {message, type, param, code, doc_url}}``. OpenAI's client tries 408, 409, 429 and
≥ 500 again by itself: a state conflict says ``x-should-retry: false``, and what is worth waiting
for says ``Retry-After``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, json, request
from werkzeug.exceptions import HTTPException

from textgen.errors import InvalidInput, TextgenError
from web.error_reference import doc_url
from web.metrics import Metrics
from web.pages.language import language, said
from web.patience import SlowClient
from web.translation import translated
from worker import error_answers, errors
from worker.error_answers import INVALID, NO_RETRY, Answer
from worker.storage.artifact_backends import StorageAway
from worker.webhooks.destinations import UnreachableDestination

logger = logging.getLogger("textgen.web")


class UnsupportedMedia(InvalidInput):
    """The body is in a form that the service does not read."""

    default_code = "unsupported_media_type"


class BadRange(TextgenError):
    """The range asked for lies outside of the file, whose length ``headers`` tell."""

    default_code = "range_not_satisfiable"
    headers: Mapping[str, str] = {}


# The nearest class of an error decides, so a subclass may have its own line.
ANSWERS: Mapping[type[TextgenError], Answer] = {
    **error_answers.ANSWERS,
    SlowClient: Answer(408, INVALID, {"Connection": "close"}),
    UnsupportedMedia: Answer(415, INVALID),
    BadRange: Answer(416, INVALID),
    UnreachableDestination: Answer(424, INVALID, NO_RETRY),
}


def answer_for(error: TextgenError) -> Answer:
    """The line of the table for an error: that of its nearest listed class."""
    return error_answers.answer_for(error, ANSWERS)


def error_body(error: TextgenError, spoken: str | None = None) -> dict[str, Any]:
    """The envelope; also what a stream sends when it fails in the middle.

    The message is in the language ``spoken``, else in that of the current request.
    """
    message = translated(error.message, language() if spoken is None else spoken)
    return envelope(message, answer_for(error).kind, error.code, error.param)


def envelope(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object, and where its code is explained."""
    said = {"message": message, "type": kind, "param": param, "code": code}
    return {"error": {**said, "doc_url": doc_url(code)}}


def respond(error: TextgenError) -> Response:
    """The whole answer to an error that was raised on purpose."""
    answer = answer_for(error)
    Metrics.of_app().failed(error.code)
    if answer.status >= 500:
        logger.warning(
            "%s %s: %d %s (%s)", request.method, request.path, answer.status, error.code,
            g.get("request_id", ""),
        )  # fmt: skip
    response = _json(error_body(error), answer.status)
    response.headers.extend({**answer.headers, **getattr(error, "headers", {})})
    wait = getattr(error, "retry_after", answer.retry_after)
    if answer.status in (409, 429, 503, 507) and wait is not None:
        response.headers["Retry-After"] = str(max(1, round(wait)))
    return response


def install(app: Flask) -> None:
    """Let every error, also those of routing and the unforeseen, come out in the envelope."""
    app.register_error_handler(TextgenError, respond)
    app.register_error_handler(StorageAway, _storage_away)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unforeseen)


def _storage_away(error: StorageAway) -> Response:
    logger.error("%s %s: %s", request.method, request.path, error)
    return respond(
        errors.StorageUnavailable(
            "The storage of files and models does not answer. Try again shortly."
        )
    )


def _http(error: HTTPException) -> Response:
    status = 500 if error.code is None else error.code
    if status < 400:  # a redirect that routing asked for
        return Response("", status, {"Location": error.get_response().headers["Location"]})
    message, code = _words(error, status)
    Metrics.of_app().failed(code)
    kind = INVALID if status < 500 else "server_error"
    response = _json(envelope(said(message), kind, code), status)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "location", "retry-after"):
            response.headers[name] = value
    return response


def _words(error: HTTPException, status: int) -> tuple[str, str]:
    """Message and code for an error that came from the framework."""
    path = f"{request.method} {request.path}"
    if status == 404:
        return f"There is no {path}. /openapi.json lists every route.", "unknown_url"
    if status == 405:
        return f"{path} is not allowed; see the Allow header.", "method_not_allowed"
    if status == 413:
        return f"The body of {path} is over the limit of the service.", "too_large"
    phrase = HTTPStatus(status).phrase
    return error.description or phrase, phrase.lower().replace(" ", "_")


def _unforeseen(error: Exception) -> Response:
    """What nobody foresaw: the details go to the log, the request's id to the client."""
    identity = g.get("request_id", "")
    Metrics.of_app().failed("internal_error")
    logger.error("%s %s failed (%s)", request.method, request.path, identity, exc_info=error)
    message = f"Something failed inside the service. Its log has the details under {identity}."
    return _json(envelope(said(message), "server_error", "internal_error"), 500)


def _json(body: dict[str, Any], status: int) -> Response:
    response = Response(json.dumps(body), status, mimetype="application/json")
    response.headers["Content-Language"] = language()
    response.vary.update(("Accept-Language", "Cookie"))
    return response
