"""Stored bytes by the hour: one row a tenant and hour, however many reconcilers look."""

from __future__ import annotations

import logging
from collections import defaultdict

from sqlalchemy import func, literal, select

from worker.backend import Backend
from worker.errors import CorruptArtifact
from worker.storage.database import Database, insert_into
from worker.storage.tables import files, models
from worker.tenants.tables import tenants
from worker.usage.tables import usage

LOG = logging.getLogger(__name__)

HOUR = 3600


class StorageMeter:
    """Writes what each tenant has stored, for the hour that has begun."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._sizes: dict[tuple[str, str], int] = {}  # of model files, which never change
        self._written = -1

    def run(self) -> None:
        """Write this hour's rows, unless they are there; raises DatabaseUnavailable."""
        with self._backend.database.read() as connection:
            hour = int(self._backend.database.now(connection)) // HOUR
        if hour == self._written:
            return
        stored = self.stored()
        with self._backend.database.write() as connection:
            for tenant, size in sorted(stored.items()):  # in one order, as sums are locked
                connection.execute(
                    insert_into(connection, usage)
                    .values(
                        id=f"storage:{tenant}:{hour}",
                        tenant=tenant,
                        kind="storage",
                        outcome="succeeded",
                        billable=True,
                        at=float(hour * HOUR),
                        requests=0,
                        characters_in=0,
                        characters_out=0,
                        tokens_in=0,
                        tokens_out=0,
                        compute_seconds=0.0,
                        byte_hours=float(size),
                    )
                    .on_conflict_do_nothing()
                )
        self._written = hour

    def stored(self) -> dict[str, int]:
        """Bytes of files and models by tenant, as they are now."""
        found: dict[str, int] = defaultdict(int)
        with self._backend.database.read() as connection:
            by_tenant = select(files.c.tenant, func.sum(files.c.bytes)).group_by(files.c.tenant)
            for tenant, size in connection.execute(by_tenant).all():
                found[tenant] += int(size)
            places = connection.execute(
                select(models.c.tenant, models.c.artifact, models.c.file)
            ).all()
        sizes = {}
        for tenant, artifact, file in places:
            sizes[artifact, file] = size = self._size(artifact, file)
            found[tenant] += size
        self._sizes = sizes
        return {tenant: size for tenant, size in found.items() if size}

    def _size(self, artifact: str, file: str) -> int:
        if (artifact, file) in self._sizes:
            return self._sizes[artifact, file]
        try:
            return self._backend.store.get(artifact).files[file].bytes
        except (OSError, KeyError, CorruptArtifact):
            LOG.warning("artifact %s has no %s to measure", artifact, file)
            return 0


def stored_bytes(database: Database) -> int | None:
    """What all tenants had stored at the last full hour; None where nobody has measured it yet."""
    with database.read() as connection:
        hour = int(database.now(connection)) // HOUR
        for each in (hour, hour - 1):  # looked up by their ids, which say tenant and hour
            name = literal("storage:") + tenants.c.id + literal(f":{each}")
            measured, size = connection.execute(
                select(func.count(), func.sum(usage.c.byte_hours))
                .select_from(tenants)
                .join(usage, usage.c.id == name)
            ).one()
            if measured:
                return int(size)
    return None
