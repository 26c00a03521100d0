"""What can go wrong between a client and the core, beside the core's own errors.

TextgenError (textgen.errors)
├── InvalidSetting          an environment variable has an unusable value
├── NotFound                no such thing for this tenant
├── Gone                    it was there, and was removed
├── Conflict                the thing's state does not allow this now
├── IdempotencyMismatch     an Idempotency-Key came back with another body
├── Forbidden               the key may not do this
├── Unauthenticated         no key, or a wrong, expired or revoked one
├── TooLarge                the request or file is over a limit
├── QueueFull               too much waits already; try again later
├── RateLimited             too many requests in a minute; try again shortly
├── InsufficientQuota       a budget or a quota is used up; trying again does not help
├── DiskFull                free space is under the floor; nothing was taken
├── LeaseLost               this worker no longer holds the job; it must stop and publish nothing
├── CorruptArtifact         stored bytes do not match their hash
├── JobFailed               a job's own work failed for a reason that trying again won't mend
└── Unavailable             a part is away; the same request may succeed later
    ├── DatabaseUnavailable
    │   └── DatabaseFull    its disk is full: a DiskFull too, so nothing was taken
    ├── BrokerUnavailable
    ├── StorageUnavailable
    ├── NoWorker            no generation worker took the request in time
    └── WorkerLost          the worker died while it answered
"""

from __future__ import annotations

from collections.abc import Mapping

from textgen.errors import TextgenError


class InvalidSetting(TextgenError):
    """An environment variable has an unusable value."""

    default_code = "invalid_setting"


class NotFound(TextgenError):
    """No such thing for this tenant."""

    default_code = "not_found"


class Gone(TextgenError):
    """It was there, and was removed."""

    default_code = "gone"


class Conflict(TextgenError):
    """The thing's state does not allow this now."""

    default_code = "conflict"


class IdempotencyMismatch(TextgenError):
    """An Idempotency-Key came back with another body."""

    default_code = "idempotency_key_reused"


class Forbidden(TextgenError):
    """The key may not do this."""

    default_code = "forbidden"


class Unauthenticated(TextgenError):
    """No key, or a wrong, expired or revoked one."""

    default_code = "invalid_api_key"


class TooLarge(TextgenError):
    """The request or file is over a limit."""

    default_code = "too_large"


class QueueFull(TextgenError):
    """Too much waits already; ``retry_after`` is in seconds."""

    default_code = "queue_full"
    retry_after: float = 30.0


class RateLimited(TextgenError):
    """Too many requests in a minute; ``retry_after`` is in seconds."""

    default_code = "rate_limit_exceeded"
    retry_after: float = 1.0
    headers: Mapping[str, str] = {}  # that tell a client how much is left


class InsufficientQuota(TextgenError):
    """A budget or a quota is used up; trying again does not help."""

    default_code = "insufficient_quota"


class DiskFull(TextgenError):
    """Free space is under the floor; nothing was taken."""

    default_code = "disk_full"


class LeaseLost(TextgenError):
    """This worker no longer holds the job; it must stop and publish nothing."""

    default_code = "lease_lost"


class CorruptArtifact(TextgenError):
    """Stored bytes do not match their hash."""

    default_code = "corrupt_artifact"


class JobFailed(TextgenError):
    """A job's own work failed for a reason that trying again will not mend."""

    default_code = "job_failed"


class Unavailable(TextgenError):
    """A part is away; the same request may succeed later. ``retry_after`` is in seconds."""

    default_code = "unavailable"
    retry_after: float = 2.0


class DatabaseUnavailable(Unavailable):
    """The database does not answer, or is locked for too long."""

    default_code = "database_unavailable"


class DatabaseFull(DiskFull, DatabaseUnavailable):
    """The database's disk is full; nothing was written. Workers wait, as for one that is away."""

    retry_after = 60.0


class BrokerUnavailable(Unavailable):
    """Redis does not answer."""

    default_code = "broker_unavailable"


class StorageUnavailable(Unavailable):
    """The storage of files and models does not answer."""

    default_code = "storage_unavailable"


class NoWorker(Unavailable):
    """No generation worker took the request in time."""

    default_code = "no_worker"


class WorkerLost(Unavailable):
    """The worker died while it answered."""

    default_code = "worker_lost"
