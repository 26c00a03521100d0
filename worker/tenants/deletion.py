"""The end of a tenant: what would go, and its going, rows and artifacts.

Every table with a column ``tenant`` is emptied of it, so none that is added later is forgotten.
Only the audit log stays: it holds no content and is never changed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Table, delete, func, literal, select
from sqlalchemy.engine import Connection

from textgen.errors import InvalidOption
from worker.all_tables import LOCK_ORDER, METADATA
from worker.errors import BrokerUnavailable
from worker.jobs.states import LIVE
from worker.jobs.tables import in_state, jobs
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.tables import api_keys, files
from worker.tenants.audit import OPERATOR, Actor, record
from worker.tenants.tables import audit_log, tenants
from worker.tenants.tenants import CACHE_SECONDS, DEFAULT_TENANT, Tenants, locked
from worker.usage.tables import usage_sums

LOG = logging.getLogger(__name__)

COUNTED = ("files", "models", "aliases", "jobs", "api_keys")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a tenant has: rows by table, bytes of its files, jobs that are not finished."""

    rows: Mapping[str, int]
    file_bytes: int
    live_jobs: int


class ForgetfulStates(Protocol):
    """States of texts, which lie in the broker."""

    def forget(self, tenant: str, artifact: str = "") -> int:
        """Delete those of an artifact, or all; raises BrokerUnavailable."""


class TenantDeletion:
    """Deletes tenants; safe to repeat after a failure.

    Without ``states`` those of its texts go by themselves when their time is over.
    """

    def __init__(
        self,
        database: Database,
        store: ArtifactStore,
        known: Tenants,
        states: ForgetfulStates | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._tenants = known
        self._states = states

    def contents(self, tenant: str) -> Contents:
        """What would go; raises NotFound."""
        self._tenants.get(tenant)
        with self._database.read() as connection:
            rows = {
                table.name: connection.execute(
                    select(func.count()).select_from(table).where(table.c.tenant == tenant)
                ).scalar_one()
                for table in _tables()
                if table is not usage_sums  # which is made of another
            }
            size = connection.execute(
                select(func.coalesce(func.sum(files.c.bytes), 0)).where(files.c.tenant == tenant)
            ).scalar_one()
            live = connection.execute(
                select(func.count())
                .select_from(jobs)
                .where(jobs.c.tenant == tenant, in_state(*sorted(LIVE)))
            ).scalar_one()
        present = {name: count for name, count in rows.items() if count or name in COUNTED}
        return Contents(present, int(size), int(live))

    def delete(
        self, tenant: str, actor: Actor = OPERATOR, *, wait_seconds: float = CACHE_SECONDS
    ) -> Contents:
        """Delete a tenant and all it has; raises NotFound.

        It is suspended first, and every process is given the time to notice. A job that runs
        loses its lease: its worker writes nothing more and stops.
        """
        if tenant == DEFAULT_TENANT:
            raise InvalidOption(
                f"{tenant!r} is the operator's own project and cannot be deleted.",
                code="project_not_deletable",
                param="project_id",
            )
        self._tenants.suspend(tenant, actor)
        with self._database.write() as connection:
            connection.execute(delete(api_keys).where(api_keys.c.tenant == tenant))
        time.sleep(wait_seconds)
        found = self.contents(tenant)
        artifacts = list(self._artifacts(tenant))
        with self._database.write() as connection:
            _lock(connection, tenant)
            for table in _tables():
                connection.execute(delete(table).where(table.c.tenant == tenant))
            connection.execute(delete(tenants).where(tenants.c.id == tenant))
            now = self._database.now(connection)
            data = {"rows": dict(found.rows), "file_bytes": found.file_bytes}
            record(connection, now, actor, "project.deleted", tenant, tenant, data)
        self._tenants.forget(tenant)
        # Should we die here, the sweep finds that nothing points to them.
        for artifact in artifacts:
            self._store.delete(artifact)
        if self._states is not None:
            forget_states(self._states, tenant)
        return found

    def _artifacts(self, tenant: str) -> Iterator[str]:
        """All that it has in storage, also what jobs have left."""
        with self._database.read() as connection:
            job_ids = connection.execute(select(jobs.c.id).where(jobs.c.tenant == tenant)).scalars()
            named = [
                connection.execute(
                    select(table.c.artifact)
                    .where(table.c.tenant == tenant, table.c.artifact.is_not(None))
                    .distinct()
                ).scalars()
                for table in _tables()
                if "artifact" in table.c
            ]
            found = {name for names in named for name in names}
            folders = [f"jobs/{job_id}" for job_id in job_ids]
        for folder in folders:
            found |= set(self._store.list(folder))
        yield from sorted(found)


def forget_states(states: ForgetfulStates, tenant: str, artifact: str = "") -> None:
    """Delete states of texts; a broker that is away forgets them when their time is over."""
    try:
        states.forget(tenant, artifact)
    except BrokerUnavailable as error:
        LOG.warning("states of texts of %s stay until they expire: %s", tenant, error.message)


def _lock(connection: Connection, tenant: str) -> None:
    """Keep every row from changing that others lock before more of the tenant's.

    So whoever is at work there ends first, and then finds nothing. Raises NotFound.
    """
    for table in LOCK_ORDER:
        owner = table.c.id if table is tenants else table.c.tenant
        rows = select(literal(1)).select_from(table).where(owner == tenant)
        held = rows.order_by(*table.primary_key).with_for_update().subquery()
        connection.execute(select(func.count()).select_from(held))
    locked(connection, tenant)


def _tables() -> Iterator[Table]:
    """Every table that has rows of tenants, those that refer to others first."""
    for table in reversed(METADATA.sorted_tables):
        if "tenant" in table.c and table is not audit_log:
            yield table
