"""The one table from exception to the status that a client is told, over HTTP or in a batch.

`web.errors` makes answers of it, and knows the errors that only HTTP has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from textgen.errors import EngineFull, InvalidInput, TextgenError
from worker import errors

NO_RETRY = {"x-should-retry": "false"}
INVALID = "invalid_request_error"


@dataclass(frozen=True)
class Answer:
    """How one kind of error is told to a client."""

    status: int
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None


ANSWERS: Mapping[type[TextgenError], Answer] = {
    errors.Unauthenticated: Answer(
        401, "authentication_error", {"WWW-Authenticate": 'Bearer realm="textgen"'}
    ),
    errors.Forbidden: Answer(403, "permission_error"),
    errors.NotFound: Answer(404, INVALID),
    errors.Gone: Answer(410, INVALID),
    errors.Conflict: Answer(409, "conflict_error", NO_RETRY),
    errors.TooLarge: Answer(413, INVALID),
    errors.IdempotencyMismatch: Answer(422, INVALID),
    InvalidInput: Answer(400, INVALID),
    errors.QueueFull: Answer(429, "rate_limit_error", retry_after=30),
    errors.RateLimited: Answer(429, "rate_limit_error", retry_after=1),
    errors.InsufficientQuota: Answer(429, "insufficient_quota", NO_RETRY),
    EngineFull: Answer(429, "rate_limit_error", retry_after=1),
    errors.Unavailable: Answer(503, "server_error", retry_after=2),
    errors.DiskFull: Answer(507, "server_error", retry_after=60),
    errors.CorruptArtifact: Answer(500, "server_error", NO_RETRY),
    TextgenError: Answer(500, "server_error"),
}


def answer_for(
    error: TextgenError, answers: Mapping[type[TextgenError], Answer] = ANSWERS
) -> Answer:
    """The line of the table for an error: that of its nearest listed class."""
    return next(answers[kind] for kind in type(error).__mro__ if kind in answers)
