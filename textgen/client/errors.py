"""What can go wrong with a service, as exceptions that say what to do.

TextgenError
├── ServiceUnreachable   nothing answers
├── ApiError             the service refused or failed; ``status`` is HTTP's
│   ├── InvalidRequest   400, 413, 415, 416, 422
│   ├── Unauthorised     401, 403
│   ├── NotFound         404
│   ├── Conflict         409
│   ├── RateLimited      429
│   ├── QuotaUsedUp      429 of the type insufficient_quota
│   └── ServiceFailed    500 and above
├── JobEnded             a job that was waited for did not succeed
└── NotMeasured          an evaluation succeeded without what was wanted of it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textgen.client.shapes import Job
from textgen.errors import TextgenError


class ServiceUnreachable(TextgenError):
    """No service answers, or its answer broke off."""

    default_code = "service_unreachable"
    remedy: ClassVar[str] = "See that the service runs at that address: textgen up."


class ApiError(TextgenError):
    """The service's own error: its ``code`` is stable, its ``message`` names the way out.

    ``remedy`` says what to do about errors of this kind, ``doc_url`` (where the service tells it)
    is the code's place in its reference, ``request_id`` finds the request in its log.
    """

    remedy: ClassVar[str] = "The message says what to change."

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        param: str | None = None,
        doc_url: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status
        self.doc_url = doc_url
        self.request_id = request_id


class InvalidRequest(ApiError):
    """The request cannot work as it is."""


class Unauthorised(ApiError):
    """The key is missing or wrong, or may not do this."""

    remedy = "Use another key."


class NotFound(ApiError):
    """No such thing, or it is another project's."""


class Conflict(ApiError):
    """The thing's state does not allow it now."""

    remedy = "Look at the thing's state first."


class RateLimited(ApiError):
    """Too much at once; the client has waited and tried again already."""

    remedy = "Wait, or send less at once."


class QuotaUsedUp(ApiError):
    """A budget or quota is used up; waiting does not help before its period ends."""

    remedy = "Ask the operator for more, or wait for the next period."


class ServiceFailed(ApiError):
    """A fault of the service, or a part of it that is away."""

    remedy = "Try again later; the service's log has the request by its id."


class JobEnded(TextgenError):
    """A job failed or was cancelled; ``job`` has all that is known of it."""

    default_code = "job_cancelled"

    def __init__(self, job: Job) -> None:
        error = job.error
        if error is None:
            super().__init__(f"{job.id} was {job.state}.", code=f"job_{job.state}")
        else:
            super().__init__(f"{job.id} failed: {error.message}", code=error.code)
        self.job = job


class NotMeasured(TextgenError):
    """An evaluation succeeded, but not this part of it; the message says why."""

    default_code = "not_measured"
    remedy: ClassVar[str] = "Ask a model that has learnt to predict the next token."


def error_of(status: int, body: Any, request_id: str | None) -> ApiError:
    """The exception for an answer of that status."""
    found = body.get("error") if isinstance(body, Mapping) else None
    told: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    kind = _KINDS.get(status, ServiceFailed if status >= 500 else InvalidRequest)
    if status == 429 and told.get("type") == "insufficient_quota":
        kind = QuotaUsedUp
    return kind(
        str(told.get("message") or f"The service answered with status {status}."),
        status=status,
        code=told.get("code"),
        param=told.get("param"),
        doc_url=told.get("doc_url"),
        request_id=request_id,
    )


_KINDS: Mapping[int, type[ApiError]] = {
    401: Unauthorised,
    403: Unauthorised,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
}
