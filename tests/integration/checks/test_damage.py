"""Artifacts whose bytes are not those of their manifest."""

from __future__ import annotations

import pytest
import redis

from tests.integration.checks.unsound import (
    OWNER,
    everything,
    file,
    kinds,
    model,
    remove,
)
from worker.backend import Backend
from worker.operations.check import Checked, ServiceCheck
from worker.operations.checks.damage import Damaged
from worker.operations.checks.stuck_jobs import StuckJobs
from worker.processes.orphans import FEW
from worker.processes.sweep import Sweep


class TestDamage:
    @pytest.fixture
    def deep(self, backend: Backend, broker: redis.Redis) -> ServiceCheck:
        stuck = StuckJobs(backend, wait=lambda _: None)
        return ServiceCheck(backend, broker, min_age=0, stuck=stuck, deep=True)

    def spoil(self, backend: Backend, name: str, file: str = "content") -> None:
        (backend.settings.home / "artifacts" / name / file).write_text("TEXT")

    @pytest.mark.usefixtures("sound")
    def test_a_sound_service(
        self, backend: Backend, broker: redis.Redis, deep: ServiceCheck
    ) -> None:
        before = everything(backend, broker)

        assert deep.mend() == Checked((), [], [], ())

        assert everything(backend, broker) == before

    @pytest.mark.usefixtures("sound")
    @pytest.mark.parametrize("file_name", ["content", "manifest.json"])
    def test_is_put_aside_until_somebody_decides(
        self, backend: Backend, service: ServiceCheck, deep: ServiceCheck, file_name: str
    ) -> None:
        file(backend, "file-2")
        self.spoil(backend, "files/file-2", file_name)
        assert service.look().found == []  # nobody has read it

        (found,) = deep.look().found
        done = deep.mend()

        assert (found.what, found.id, found.tenant) == (
            "damaged_artifact", "files/file-2", OWNER,
        )  # fmt: skip
        assert "Used by the file file-2." in found.detail
        assert kinds(done.mended) == [("damaged_artifact", "files/file-2")]
        assert kinds(done.left) == [("missing_artifact", "file-2")]
        assert "manifest.bad.json" in done.left[0].hint
        kept = backend.settings.home / "artifacts" / "files" / "file-2"
        assert {path.name for path in kept.iterdir()} == {"content", "manifest.bad.json"}
        assert (kept / "content").read_text() == ("TEXT" if file_name == "content" else "text")
        assert kinds(deep.mend().left) == [("missing_artifact", "file-2")]  # and stays so

        (kept / "content").write_text("text")  # of a backup, with what was its manifest
        with backend.store.create("files/again") as staging:
            with staging.open("content") as stream:
                stream.write(b"text")
            staging.commit()
        again = backend.settings.home / "artifacts" / "files" / "again"
        (again / "manifest.json").rename(kept / "manifest.json")
        (kept / "manifest.bad.json").unlink()
        remove(backend, "files/again")
        assert deep.look().found == []

    @pytest.mark.usefixtures("sound")
    def test_goes_with_what_points_to_it(self, backend: Backend, deep: ServiceCheck) -> None:
        """Who deletes a file or a model deletes its bytes, wherever they are by then."""
        model(backend, "ft-2")
        file(backend, "file-2")
        for name in ("jobs/ft-2/1/model", "files/file-2"):
            self.spoil(backend, name)
        deep.mend()
        aside = list(backend.store.list(quarantined=True))

        backend.files.delete(OWNER, "file-2")
        backend.models.delete(OWNER, "ft-2")
        Sweep(backend, young_seconds=-1).remove_orphans()

        assert aside == ["files/file-2", "jobs/ft-2/1/model"]
        assert list(backend.store.list(quarantined=True)) == []
        assert deep.look().found == []

    @pytest.mark.usefixtures("sound")
    def test_a_file_that_is_lost(self, backend: Backend, deep: ServiceCheck) -> None:
        (backend.settings.home / "artifacts" / "jobs" / "ft-1" / "1" / "model" / "content").unlink()

        assert kinds(deep.look().found) == [("damaged_artifact", "jobs/ft-1/1/model")]

    def test_one_that_is_right_again(self, backend: Backend) -> None:
        file(backend, "file-1")
        self.spoil(backend, "files/file-1")
        check = Damaged(backend)
        found = list(check.look())
        (backend.settings.home / "artifacts" / "files" / "file-1" / "content").write_text("text")

        check.mend(found)

        assert kinds(found) == [("damaged_artifact", "files/file-1")]
        assert backend.store.verify("files/file-1").name == "files/file-1"

    def test_where_most_is_damaged_nothing_is_put_aside(
        self, backend: Backend, deep: ServiceCheck
    ) -> None:
        for number in range(FEW + 1):
            file(backend, f"file-{number}")
            self.spoil(backend, f"files/file-{number}")

        done = deep.mend()

        assert len(done.left) == FEW + 1 and done.mended == []
        assert "backup" in done.left[0].hint
        assert len(list(backend.store.list())) == FEW + 1
