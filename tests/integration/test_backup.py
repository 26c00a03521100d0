from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.conftest import run
from worker.all_tables import METADATA
from worker.backend import Backend, open_backend
from worker.jobs.rows import Job
from worker.operations.archive import BackupUnusable, read_archive, write_archive
from worker.operations.backup import Backup, BackupMade
from worker.operations.restore import NotEmpty, Restore, Restored, backups
from worker.operations.rows import LEFT_OUT
from worker.settings import Settings
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.keys import Keys
from worker.storage.models import NewModel, add_model
from worker.webhooks.destinations import Allowed
from worker.webhooks.endpoints import Endpoints
from worker.webhooks.sender import Sender


def store(backend: Backend, name: str, text: bytes = b"text") -> str:
    with backend.store.create(name) as staging:
        with staging.open("content") as stream:
            stream.write(text)
        staging.commit()
    return name


def checkpoint(backend: Backend, job: Job, step: int) -> str:
    artifact = store(backend, f"jobs/{job.id}/{job.token}/step-{step}", f"step {step}".encode())
    dropped = backend.jobs.save_checkpoint(job, artifact=artifact, step=step, metrics={})
    for name in dropped:
        backend.store.delete(name)
    return artifact


@pytest.fixture
def filled(backend: Backend) -> Job:
    """A service with keys, a file, a model, a webhook; the training that runs."""
    jobs = backend.jobs
    Keys(backend.database).ensure_admin(backend.settings)
    Endpoints(backend.database, Sender(Allowed.parse("127.0.0.1"))).create(
        "default", name="n", url="https://example.org/hook", event_types=["batch.completed"]
    )
    store(backend, "files/1", "中文 \x00 \ud83d\ude00".encode("utf-8", "surrogatepass"))
    file = backend.files.create(
        "default", filename="中文.txt", purpose="fine-tune", artifact="files/1", file="content"
    )
    for note in ("first", "second"):
        jobs.submit("default", "training", {"note": note}, uses_files=[file.id])
    done, running = run(jobs), run(jobs)
    for job in (done, running):
        checkpoint(backend, job, 10)
    store(backend, f"jobs/{done.id}/1/model")
    new = NewModel("ft:a", "default", f"jobs/{done.id}/1/model", "content", header={"a": None})
    jobs.succeed(done, {"x": 0.1}, lambda connection: add_model(connection, "default", new, 1.0))
    store(backend, "files/orphan")
    return running


def back_up(backend: Backend, target: str) -> BackupMade:
    with write_archive(target) as archive:
        return Backup(backend.database, backend.store, archive).make()


def restore(source: str, settings: Settings) -> Restored:
    database = Database(settings.effective_database_url)
    try:
        with read_archive(source) as archive:
            target = ArtifactStore(settings.effective_storage_url)
            return Restore(archive).run(settings, database, target)
    finally:
        database.dispose()


def rows_of(database: Database) -> dict[str, list[Any]]:
    found = {}
    with database.read() as connection:
        for table in METADATA.sorted_tables:
            if table.name not in LEFT_OUT:
                rows = connection.execute(sa.select(table).order_by(*table.primary_key)).all()
                found[table.name] = [dict(row._mapping) for row in rows]
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Where nothing is yet: a home without a database, or a database with empty tables."""
    home = tmp_path / "new"
    if request.param == "sqlite":
        home.mkdir()
        return Settings(home=home)
    make: Callable[[], str] = request.getfixturevalue("new_postgresql")
    return Settings(home=home, database_url=make())


@pytest.fixture(params=["folder", "zip", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":  # any file system of fsspec's that is not this machine's
        import fsspec

        yield f"memory://{tmp_path.name}"
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
    else:
        yield str(tmp_path / ("kept" if request.param == "folder" else "kept.zip"))


class TestThereAndBack:
    def test_from_either_database_to_either(
        self, backend: Backend, filled: Job, empty: Settings, tmp_path: Path
    ) -> None:
        kept = str(tmp_path / "kept")
        before = rows_of(backend.database)
        made = back_up(backend, kept)

        done = restore(kept, empty)

        assert (made.artifacts, made.damaged) == (4, [])
        assert (done.rows, done.artifacts, done.resumed) == (made.rows, 4, 1)
        after = open_backend(empty)
        found = rows_of(after.database)
        again = {row["id"]: row for row in found["jobs"]}[filled.id]
        assert (again["state"], again["losses"], again["checkpoint"]["step"]) == ("queued", 0, 10)
        # but for the job that ran, nothing has changed
        for name in set(before) - {"jobs", "job_events"}:
            assert found[name] == before[name], name
        others = [row for row in before["jobs"] if row["id"] != filled.id]
        assert [row for row in found["jobs"] if row["id"] != filled.id] == others
        events = [event.id for event in after.jobs.events("default", filled.id)]
        assert events == list(range(1, again["event_count"] + 1))
        for name in after.store.list():
            assert after.store.verify(name).files == backend.store.get(name).files
        assert "files/orphan" not in set(after.store.list())
        after.database.dispose()

    def test_to_any_place(self, backend: Backend, filled: Job, target: str, tmp_path: Path) -> None:
        back_up(backend, target)
        settings = Settings(home=tmp_path / "new")
        settings.home.mkdir()

        done = restore(target, settings)

        assert done.artifacts == 4
        again = open_backend(settings)
        claimed = run(again.jobs, "w2")
        assert (claimed.id, claimed.token) == (filled.id, filled.token + 1)
        checkpoint(again, claimed, 20)
        again.database.dispose()

    @pytest.mark.usefixtures("filled")
    def test_into_tables_of_a_version_before(self, backend: Backend, tmp_path: Path) -> None:
        """A backup of an earlier textgen is brought up to this version's tables."""
        backend.database.downgrade("0006")
        kept = str(tmp_path / "kept")
        with backend.database.read() as connection:
            assert "uploads" not in sa.inspect(connection).get_table_names()
        with pytest.raises(sa.exc.DBAPIError):
            back_up(backend, kept)  # this version's references need its tables
        backend.database.migrate()
        back_up(backend, kept)
        (manifest,) = (Path(kept) / "backups").glob("*/manifest.json")
        found = json.loads(manifest.read_text())
        for name in ("uploads", "upload_parts"):
            del found["rows"][name]
        manifest.write_text(json.dumps({**found, "revision": "0006"}))
        settings = Settings(home=tmp_path / "new")
        settings.home.mkdir()

        restore(kept, settings)

        again = Database(settings.effective_database_url)
        assert rows_of(again)["uploads"] == []
        again.dispose()


class TestMany:
    def test_what_is_there_is_not_copied_again(
        self, backend: Backend, filled: Job, tmp_path: Path
    ) -> None:
        kept = str(tmp_path / "kept")
        first = back_up(backend, kept)
        checkpoint(backend, filled, 20)

        second = back_up(backend, kept)

        assert (first.copied, second.copied, second.artifacts) == (4, 1, 5)
        with read_archive(kept) as archive:
            assert backups(archive) == [first.name, second.name]
            assert Restore(archive, first.name).stored.artifacts == 4
            for name in backups(archive):
                Restore(archive, name).verify()

    def test_while_a_job_makes_and_drops_checkpoints(
        self, backend: Backend, filled: Job, tmp_path: Path
    ) -> None:
        stop = threading.Event()

        def work() -> None:
            step = 10
            while not stop.wait(0.1):
                step += 10
                checkpoint(backend, filled, step)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            made = [back_up(backend, str(tmp_path / "kept")) for _ in range(3)]
        finally:
            stop.set()
            thread.join()

        assert [each.damaged for each in made] == [[], [], []]
        settings = Settings(home=tmp_path / "new")
        settings.home.mkdir()
        restore(str(tmp_path / "kept"), settings)
        again = open_backend(settings)
        pointer = run(again.jobs, "w2").checkpoint
        assert pointer is not None
        again.store.verify(pointer["artifact"])
        again.database.dispose()


class TestRefusals:
    @pytest.mark.usefixtures("filled")
    def test_what_the_service_lacks_is_said(self, backend: Backend, tmp_path: Path) -> None:
        (backend.settings.home / "artifacts/files/1/content").write_bytes(b"other")

        made = back_up(backend, str(tmp_path / "kept.zip"))

        assert made.damaged == ["files/1"]
        assert made.artifacts == 3

    @pytest.mark.parametrize("damage", ["artifact", "rows", "list", "manifest", "gone"])
    @pytest.mark.usefixtures("filled")
    def test_a_damaged_backup_changes_nothing(
        self, backend: Backend, tmp_path: Path, damage: str
    ) -> None:
        kept = tmp_path / "kept"
        made = back_up(backend, str(kept))
        folder = kept / "backups" / made.name
        path = {
            "artifact": kept / "artifacts/files/1/content",
            "gone": kept / "artifacts/files/1/content",
            "rows": folder / "jobs.jsonl.gz",
            "list": folder / "artifacts.jsonl.gz",
            "manifest": folder / "manifest.json",
        }[damage]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        if damage == "manifest":
            data = data[: len(data) // 2]
        path.write_bytes(data)
        if damage == "gone":
            path.unlink()
        settings = Settings(home=tmp_path / "new")
        settings.home.mkdir()

        with pytest.raises(BackupUnusable):
            restore(str(kept), settings)
        with pytest.raises(BackupUnusable), read_archive(str(kept)) as archive:
            Restore(archive).verify()

        database = Database(settings.effective_database_url)
        with database.read() as connection:
            assert sa.inspect(connection).get_table_names() == []
        database.dispose()

    def test_a_file_is_there_whole_or_not_at_all(self, tmp_path: Path) -> None:
        """Else the newest backup would be one whose manifest was cut short."""

        class BrokenOff(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                if self.tell():
                    raise ConnectionError
                return super().read(size and 4)

        with write_archive(str(tmp_path)) as archive:
            archive.put("a/manifest.json", io.BytesIO(b"the one before"))
            for name in ("a/manifest.json", "b/manifest.json"):
                with pytest.raises(ConnectionError):
                    archive.put(name, BrokenOff(b"the new one"))

            assert archive.read("a/manifest.json") == b"the one before"
            assert archive.read("b/manifest.json") is None
        assert [path.name for path in tmp_path.rglob("*.*")] == ["manifest.json"]

    def test_an_attempt_that_broke_off_is_begun_again(
        self, backend: Backend, filled: Job, tmp_path: Path
    ) -> None:
        kept = tmp_path / "kept"
        back_up(backend, str(kept))
        path = kept / f"artifacts/jobs/{filled.id}/1/step-10/content"
        data = path.read_bytes()
        path.write_bytes(b"x")
        settings = Settings(home=tmp_path / "new")
        settings.home.mkdir()
        with pytest.raises(BackupUnusable):
            restore(str(kept), settings)
        assert list(ArtifactStore(settings.effective_storage_url).list()) != []
        path.write_bytes(data)

        assert restore(str(kept), settings).artifacts == 4

    @pytest.mark.usefixtures("filled")
    def test_only_into_what_is_empty(self, backend: Backend, tmp_path: Path) -> None:
        kept = str(tmp_path / "kept")
        back_up(backend, kept)
        before = rows_of(backend.database)

        with pytest.raises(NotEmpty, match="rows in"):
            restore(kept, backend.settings)

        assert rows_of(backend.database) == before
        settings = Settings(home=tmp_path / "new")
        strange = ArtifactStore(settings.effective_storage_url)
        with strange.create("files/strange") as staging:
            staging.commit()
        with pytest.raises(NotEmpty, match="files/strange"):
            restore(kept, settings)

    def test_no_backup_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(BackupUnusable, match="no backup"):
            restore(str(tmp_path / "empty"), Settings(home=tmp_path))

    @pytest.mark.usefixtures("filled")
    def test_a_zip_file_is_there_whole_or_not_at_all(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        target = tmp_path / "kept.zip"

        with pytest.raises(RuntimeError), write_archive(str(target)) as archive:
            Backup(backend.database, backend.store, archive).make()
            raise RuntimeError
        assert list(tmp_path.glob("kept*")) == []

        back_up(backend, str(target))
        assert target.stat().st_mode & 0o77 == 0
        assert zipfile.ZipFile(target).testzip() is None
