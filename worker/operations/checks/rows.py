"""Rows that point to rows that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, not_, or_, select

from worker.backend import Backend
from worker.jobs.states import LIVE
from worker.jobs.tables import checkpoints, in_state, job_uses, jobs
from worker.operations.checks.finding import Finding
from worker.storage.tables import aliases, files, models, upload_parts, uploads
from worker.storage.uploads import Uploads

NEEDS = {"file": "needs the file {}, which is gone", "model": "needs the model {}, which is gone"}
LOST_INPUT = (
    "A job whose file or model is gone cannot end well: cancel it, or restore the service from a "
    "backup that has both."
)


class DanglingAliases:
    """Aliases of models that are gone."""

    def __init__(self, backend: Backend) -> None:
        self._database = backend.database

    def look(self) -> Iterator[Finding]:
        """By one query."""
        with self._database.read() as connection:
            rows = connection.execute(select(aliases).where(_points_nowhere())).all()
        for row in rows:
            detail = f"stands for the model {row.model_id}, which is gone"
            yield Finding("dangling_alias", row.name, detail, row.tenant)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Forget each that still points nowhere."""
        for finding in findings:
            with self._database.write() as connection:
                connection.execute(
                    delete(aliases).where(
                        aliases.c.tenant == finding.tenant,
                        aliases.c.name == finding.id,
                        _points_nowhere(),
                    )
                )


class StrayCheckpoints:
    """Rows of checkpoints whose job or model is gone."""

    def __init__(self, backend: Backend) -> None:
        self._database = backend.database

    def look(self) -> Iterator[Finding]:
        """By one query."""
        with self._database.read() as connection:
            rows = connection.execute(select(checkpoints).where(_is_stray())).all()
        for row in rows:
            detail = f"of {row.job_id}: its model {row.model_id}, or the job, is gone"
            yield Finding("stray_checkpoint", row.id, detail, row.tenant)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Forget each that is still one; its artifact, if there is one, is an orphan then."""
        for finding in findings:
            with self._database.write() as connection:
                connection.execute(
                    delete(checkpoints).where(checkpoints.c.id == finding.id, _is_stray())
                )


class LostInputs:
    """Jobs that are not finished and need a file or a model that is gone."""

    def __init__(self, backend: Backend) -> None:
        self._database = backend.database

    def look(self) -> Iterator[Finding]:
        """By two queries."""
        use = job_uses.c
        for what, table in (("file", files), ("model", models)):
            there = exists().where(table.c.tenant == use.tenant, table.c.id == use.used_id)
            with self._database.read() as connection:
                rows = connection.execute(
                    select(use.job_id, use.used_id, use.tenant)
                    .join(jobs, jobs.c.id == use.job_id)
                    .where(use.what == what, in_state(*sorted(LIVE)), not_(there))
                    .order_by(use.job_id, use.used_id)
                ).all()
            for row in rows:
                detail = NEEDS[what].format(row.used_id)
                yield Finding("missing_input", row.job_id, detail, row.tenant, LOST_INPUT)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Only its owner can say what is to become of a job."""


class UploadParts:
    """Parts of uploads that are over, and uploads that should have been forgotten."""

    def __init__(self, backend: Backend, min_age: float) -> None:
        self._backend = backend
        self._database = backend.database
        self._min_age = min_age

    def look(self) -> Iterator[Finding]:
        """What is younger may be under way to be removed."""
        with self._database.read() as connection:
            before = self._database.now(connection) - self._min_age
            parts = connection.execute(
                select(upload_parts).where(_is_over(), upload_parts.c.created_at <= before)
            ).all()
            late = connection.execute(
                select(uploads.c.id, uploads.c.tenant).where(
                    uploads.c.status == "pending", uploads.c.expires_at <= before
                )
            ).all()
        for row in parts:
            detail = f"a part of {row.upload_id}, which takes none any more"
            yield Finding("stray_upload_part", row.id, detail, row.tenant)
        for row in late:
            yield Finding("overdue_upload", row.id, "was not completed in time", row.tenant)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Forget parts of uploads that are still over, and expire what is overdue."""
        store = self._backend.store
        for finding in findings:
            if finding.what != "stray_upload_part":
                continue
            with self._database.write() as connection:
                artifact = connection.execute(
                    delete(upload_parts)
                    .where(upload_parts.c.id == finding.id, _is_over())
                    .returning(upload_parts.c.artifact)
                ).scalar_one_or_none()
            if artifact is not None:
                store.delete(artifact)
        if any(finding.what == "overdue_upload" for finding in findings):
            Uploads(self._database, store).expire_old()


def _points_nowhere() -> ColumnElement[bool]:
    same = and_(models.c.tenant == aliases.c.tenant, models.c.id == aliases.c.model_id)
    return not_(exists().where(same))


def _is_stray() -> ColumnElement[bool]:
    model = and_(models.c.tenant == checkpoints.c.tenant, models.c.id == checkpoints.c.model_id)
    job = jobs.c.id == checkpoints.c.job_id
    return or_(not_(exists().where(model)), not_(exists().where(job)))


def _is_over() -> ColumnElement[bool]:
    pending = and_(uploads.c.id == upload_parts.c.upload_id, uploads.c.status == "pending")
    return not_(exists().where(pending))
