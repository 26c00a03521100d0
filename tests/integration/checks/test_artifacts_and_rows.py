"""Artifacts without a row, and rows without their artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.checks.unsound import (
    OWNER,
    file,
    kinds,
    mended,
    remove,
)
from tests.integration.conftest import run, store
from worker.backend import Backend
from worker.operations.check import MIN_AGE, ServiceCheck
from worker.operations.checks.artifacts import Missing, Orphans
from worker.processes.orphans import FEW
from worker.storage.artifacts import ArtifactStore
from worker.tenants.audit import AuditLog


class TestArtifacts:
    @pytest.mark.usefixtures("sound")
    def test_what_no_row_points_to(self, backend: Backend, service: ServiceCheck) -> None:
        kept = set(backend.store.list()) | {store(backend, "elsewhere/1")}
        orphans = [
            store(backend, name) for name in ("files/x", "jobs/ftjob-none/1/step-1", "uploads/u/2")
        ]

        assert mended(service.mend()) == sorted(("orphan_artifact", name) for name in orphans)

        assert set(backend.store.list()) == kept

    def test_young_ones_may_be_waiting_for_their_row(self, backend: Backend) -> None:
        store(backend, "files/just-uploaded")

        assert list(Orphans(backend, MIN_AGE).look()) == []

    def test_one_that_got_its_row_meanwhile(self, backend: Backend) -> None:
        check = Orphans(backend, 0)
        store(backend, "files/late")
        found = list(check.look())
        backend.files.create(
            OWNER, filename="a", purpose="batch", artifact="files/late", file="content"
        )

        check.mend(found)

        assert list(backend.store.list()) == ["files/late"]

    def test_many_take_few_questions(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []
        original = backend.database.read

        def read() -> Any:
            asked.append(1)
            return original()

        for number in range(300):
            folder = backend.settings.home / "artifacts" / "files" / f"file-{number}"
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text('{"files": {}}')
        monkeypatch.setattr(backend.database, "read", read)

        assert len(list(Orphans(backend, 0).look())) == 300
        assert len(asked) == 1

    @pytest.mark.usefixtures("sound")
    def test_rows_whose_artifact_is_gone(self, backend: Backend, service: ServiceCheck) -> None:
        file(backend, "file-2")
        backend.models.set_alias(OWNER, "other", "ckpt")
        remove(backend, "files/file-1", "files/file-2", "jobs/ft-1/1/model", "uploads/u/part-1")

        done = service.mend()

        assert kinds(done.mended) == [
            ("missing_artifact", "file-2"),
            ("missing_artifact", "ft-1"),
            ("missing_artifact", "part-1"),
        ]
        # the training that runs needs the first file: it stays, and is said
        assert kinds(done.left) == [("missing_artifact", "file-1")]
        assert [each.id for each in backend.models.list(OWNER)] == ["ckpt"]
        assert [each.name for each in backend.models.aliases(OWNER)] == ["other"]
        told = AuditLog(backend.database).list([OWNER], types=["check.mended"]).items
        assert {each.subject for each in told} == {"file-2", "ft-1", "part-1"}

    def test_a_checkpoint_that_is_gone_is_only_said(
        self, backend: Backend, service: ServiceCheck
    ) -> None:
        backend.jobs.submit(OWNER, "training", {})
        job = run(backend.jobs)
        backend.jobs.save_checkpoint(job, artifact=f"jobs/{job.id}/1/step-1", step=1, metrics={})
        file(backend, "file-1")

        done = service.mend()

        assert kinds(done.left) == [("missing_artifact", job.id)]
        assert "goes on from an earlier checkpoint" in done.left[0].hint

    def test_one_that_came_back_meanwhile(self, backend: Backend) -> None:
        file(backend, "file-1")
        remove(backend, "files/file-1")
        check = Missing(backend)
        found = list(check.look())
        store(backend, "files/file-1")

        check.mend(found)

        assert [each.id for each in backend.files.list(OWNER).items] == ["file-1"]

    @pytest.mark.parametrize("count", [1, FEW - 2, FEW + 1])
    @pytest.mark.parametrize("what", ["rows", "storage"])
    def test_a_service_whose_storage_is_another_ones_loses_nothing(
        self, backend: Backend, service: ServiceCheck, what: str, count: int
    ) -> None:
        for number in range(count):
            if what == "rows":
                file(backend, f"file-{number}")
                remove(backend, f"files/file-{number}")
            else:
                store(backend, f"files/file-{number}")
        rows, names = backend.files.list(OWNER).items, list(backend.store.list())

        done = service.mend()

        assert len(done.left) == count
        assert "belong together" in done.left[0].hint
        assert (backend.files.list(OWNER).items, list(backend.store.list())) == (rows, names)

    @pytest.mark.parametrize("kind", ["folder", "memory"])
    def test_what_was_not_stored_whole(
        self, backend: Backend, service: ServiceCheck, kind: str, tmp_path: Path
    ) -> None:
        if kind == "memory":
            import fsspec

            url = f"memory://{tmp_path.name}"
            fs = fsspec.filesystem("memory")
            fs.pipe(f"/{tmp_path.name}/jobs/a/1/step-1/content", b"text")
            fs.pipe(f"/{tmp_path.name}/files/b/content", b"text")
            known = ArtifactStore(url)
        else:
            known = backend.store
            root = backend.settings.home / "artifacts"
            for name in ("jobs/a/1/step-1", "files/b"):
                (root / name).mkdir(parents=True)
                (root / name / "content").write_text("text")
        with known.create("files/c") as staging:
            staging.commit()
        with known.create("files/d") as staging:
            staging.commit()
        known.quarantine("files/d")

        def unfinished(age: float = 0) -> list[str]:
            return [
                name
                for folder in ("jobs", "files")
                for name in known.unfinished(folder, older_than_seconds=age)
            ]

        assert unfinished() == ["jobs/a/1/step-1", "files/b"]
        if kind == "folder":
            assert unfinished(60) == []  # somebody may be storing it
            done = service.mend().mended
            gone = sorted(each.id for each in done if each.what == "unfinished_artifact")
            assert gone == ["files/b", "jobs/a/1/step-1"]
        else:
            for name in unfinished():
                known.delete(name)
        assert unfinished() == []
