"""Taking in a job: committed first, then one try to wake a worker."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from flask import g, request
from sqlalchemy.engine import Connection

from textgen.errors import InvalidInput
from web.auth import key, tenant
from web.safe_retries import retry_of
from web.schemas.base import Body
from web.services import Services, current
from web.text_sizes import with_text_sizes
from worker import tracing
from worker.errors import DiskFull
from worker.jobs.idempotency import IdempotencyKey
from worker.jobs.origin import Origin, Reserved, Retry
from worker.jobs.rows import Job
from worker.jobs.states import Kind
from worker.storage.files import Room

LOG = logging.getLogger("textgen.web")

KEY_CHARACTERS = 255


def accept(
    services: Services,
    owner: str,
    *,
    kind: Kind,
    spec: dict[str, Any],
    files: Sequence[str],
    models: Sequence[str] = (),
    metadata: Mapping[str, str] | None,
    body: Body,
    repeats: str | None = None,
) -> Job:
    """Commit a job, or find the one that the same Idempotency-Key has made before.

    ``repeats`` is the id of an earlier job that this one does again, or in part.
    A wake-up that does not go out costs a moment: the reconciler sends another.
    """
    check_storage(services, owner)
    job = services.jobs.submit(
        owner,
        kind,
        with_text_sizes(services.store, spec),
        metadata=metadata,
        uses_files=files,
        uses_models=models,
        retry_of=repeats,
        idempotency=idempotency_key(body),
        origin=origin(retry_of(key().id, _asked(body), services.answered)),
    )
    services.answered.when_written(job.id)
    LOG.info(
        "%s: %s by key %s in %s", job.id, kind, key().id, g.request_id, extra={"about": job.about}
    )
    services.wakeups.publish(job.queue)
    return job


def again(services: Services, owner: str, job_id: str) -> Job:
    """Commit a new job like one that failed or was cancelled; checked as any new one is."""
    check_storage(services, owner)
    job = services.jobs.retry(owner, job_id, origin(), idempotency_key())
    message = "%s: again %s by key %s in %s"
    LOG.info(message, job.id, job_id, key().id, g.request_id, extra={"about": job.about})
    services.wakeups.publish(job.queue)
    return job


def origin(retry: Retry | None = None) -> Origin:
    """Who asks for a job, by which request."""
    return Origin(
        api_key=key().id,
        request_id=g.request_id,
        traceparent=tracing.traceparent() or None,
        admit=_admit,
        retry=retry,
    )


def _admit(connection: Connection, now: float, kind: Kind, spec: Mapping[str, Any]) -> Reserved:
    """Whether the caller's plan and budget allow one more job; what is set aside for it."""
    services = current()
    project = services.tenants.known(tenant())
    return services.admission.admit(connection, now, project, kind, spec)


def idempotency_key(body: Body | None = None) -> IdempotencyKey | None:
    """The client's key with the hash of what it asks for; raises InvalidInput."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    if not 1 <= len(given) <= KEY_CHARACTERS or not given.isprintable():
        raise InvalidInput(
            f"An Idempotency-Key has 1 to {KEY_CHARACTERS} printable characters.",
            param="Idempotency-Key",
        )
    return IdempotencyKey(given, hashlib.sha256(_asked(body).encode()).hexdigest())


def _asked(body: Body | None) -> str:
    """All that the current request asks for."""
    said = "" if body is None else body.model_dump_json()
    return f"{request.method} {request.path}\n{said}"


def check_storage(services: Services, owner: str) -> None:
    """Refuse work that adds to what is stored where there is no room; DiskFull, or
    InsufficientQuota where the project has used up its own.
    """
    check_room(services)
    services.quotas.check_storage(services.tenants.known(owner))


def storage_room(services: Services, owner: str) -> Room:
    """What has to hold all that is stored for a project, when it is made known."""
    return partial(_room, services, owner)


def _room(services: Services, owner: str, connection: Connection) -> AbstractContextManager[object]:
    return services.quotas.storage(connection, services.tenants.known(owner))


def check_room(services: Services) -> None:
    """Refuse new work while storage is nearly full; raises DiskFull."""
    floor = services.settings.disk_floor_bytes
    if services.store.free_bytes() < floor:
        raise DiskFull(
            f"Less than {floor:,} bytes are free for artifacts, so nothing new is taken. Delete "
            "files or models, or give the service more space."
        )
