"""Rows that need what is gone."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.checks.unsound import (
    OWNER,
    file,
    kinds,
    mended,
    model,
    remove,
)
from tests.integration.conftest import store
from worker.backend import Backend
from worker.jobs.rows import Job
from worker.operations.check import ServiceCheck
from worker.storage.tables import aliases, models, upload_parts, uploads
from worker.storage.uploads import Uploads


class TestRows:
    def test_jobs_that_need_what_is_gone(self, backend: Backend, service: ServiceCheck) -> None:
        """It takes a hand in the database: what a job needs cannot be deleted."""
        model(backend, "ft-1")
        file(backend, "file-1")
        waits, over = (
            backend.jobs.submit(
                OWNER, "scoring", {}, uses_files=["file-1"], uses_models=["ft-1"]
            ).id
            for _ in range(2)
        )
        backend.jobs.request_cancel(OWNER, over)
        with backend.database.write() as connection:
            connection.execute(sa.delete(models))
        remove(backend, "jobs/ft-1/1/model")

        done = service.mend()

        assert kinds(done.left) == [("missing_input", waits)]
        assert "the model ft-1" in done.left[0].detail and "cancel it" in done.left[0].hint
        assert backend.jobs.get(OWNER, waits).state == "queued"
        backend.jobs.request_cancel(OWNER, waits)
        assert service.look().found == []

    def test_aliases_and_checkpoints_of_what_is_gone(
        self, backend: Backend, service: ServiceCheck, sound: Job
    ) -> None:
        with backend.database.write() as connection:
            connection.execute(
                sa.insert(aliases).values(
                    tenant=OWNER, name="nothing", model_id="none", updated_at=1.0
                )
            )
            connection.execute(sa.delete(models).where(models.c.id == "ckpt"))
        (checkpoint,) = backend.jobs.checkpoints(OWNER, sound.id).items

        assert mended(service.mend()) == [
            ("dangling_alias", "nothing"),
            ("stray_checkpoint", checkpoint.id),
        ]

        assert [each.name for each in backend.models.aliases(OWNER)] == ["bot"]
        assert backend.jobs.checkpoints(OWNER, sound.id).items == []

    @pytest.mark.usefixtures("sound")
    def test_parts_of_uploads_that_are_over(self, backend: Backend, service: ServiceCheck) -> None:
        store(backend, "uploads/over/part-2")
        store(backend, "uploads/none/part-3")
        with backend.database.write() as connection:
            rows: dict[str, dict[str, Any]] = {
                "upload-over": {"status": "completed"},
                "upload-late": {"expires_at": 1.0},
            }
            for upload_id, values in rows.items():
                row = {
                    "id": upload_id, "tenant": OWNER, "filename": "", "mime_type": "",
                    "purpose": "", "bytes": 1, "status": "pending", "created_at": 1.0,
                    "expires_at": 9e9, **values,
                }  # fmt: skip
                connection.execute(sa.insert(uploads).values(**row))
            for part, upload_id in (("part-2", "upload-over"), ("part-3", "upload-none")):
                folder = upload_id.removeprefix("upload-")
                connection.execute(
                    sa.insert(upload_parts).values(
                        id=part, upload_id=upload_id, tenant=OWNER, bytes=1, sha256="",
                        artifact=f"uploads/{folder}/{part}", created_at=1.0,
                    )
                )  # fmt: skip

        assert mended(service.mend()) == [
            ("overdue_upload", "upload-late"),
            ("stray_upload_part", "part-2"),
            ("stray_upload_part", "part-3"),
        ]

        assert list(backend.store.list("uploads")) == ["uploads/u/part-1"]
        assert Uploads(backend.database, backend.store).get(OWNER, "upload-late").status == (
            "expired"
        )
