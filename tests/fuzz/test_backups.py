"""Whatever an archive of backups holds: it is right, or it is called unusable."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.damage import damaged_bytes, damaged_json
from tests.fuzz.test_readers import FUZZ
from worker.operations.archive import BackupUnusable, read_archive, write_archive
from worker.operations.backup import Backup
from worker.operations.restore import Restore
from worker.settings import Settings
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.files import Files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, and a zip file, with a backup of one file each."""
    folder = tmp_path_factory.mktemp("backups")
    database = Database(f"sqlite:///{folder / 'textgen.db'}")
    database.migrate()
    store = ArtifactStore(str(folder / "artifacts"))
    with store.create("files/1") as staging:
        with staging.open("content") as stream:
            stream.write(b"text" * 10)
        staging.commit()
    Files(database, store).create(
        "default", filename="a", purpose="batch", artifact="files/1", file="content"
    )
    for target in (folder / "kept", folder / "kept.zip"):
        with write_archive(str(target)) as archive:
            Backup(database, store, archive).make()
    database.dispose()
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return tmp_path / "copy"


def renew(whole: Path, copy: Path) -> Path:
    """A copy that is whole; the folder of its backup."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole / "kept", copy)
    (folder,) = (copy / "backups").iterdir()
    return folder


def read(source: Path, *, into: Path | None = None) -> None:
    """All of it is right, or it is called unusable."""
    try:
        with read_archive(str(source)) as archive:
            Restore(archive).verify()
            if into is None:
                return
            shutil.rmtree(into, ignore_errors=True)
            into.mkdir()
            settings = Settings(home=into)
            database = Database(settings.effective_database_url)
            try:
                target = ArtifactStore(settings.effective_storage_url)
                Restore(archive).run(settings, database, target)
            finally:
                database.dispose()
    except BackupUnusable as error:
        assert error.message


@FUZZ
@given(data=st.data())
def test_a_file_of_other_bytes(whole: Path, copy: Path, data: st.DataObject) -> None:
    renew(whole, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
    file = data.draw(st.sampled_from(files))
    file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    read(copy)


@FUZZ
@given(data=st.data())
def test_a_zip_file_of_other_bytes(whole: Path, copy: Path, data: st.DataObject) -> None:
    packed = copy.with_suffix(".zip")
    packed.write_bytes(data.draw(damaged_bytes((whole / "kept.zip").read_bytes())))
    read(packed)


@FUZZ
@given(data=st.data())
def test_a_manifest_that_says_other_things(whole: Path, copy: Path, data: st.DataObject) -> None:
    file = renew(whole, copy) / "manifest.json"
    file.write_text(json.dumps(data.draw(damaged_json(json.loads(file.read_text())))))
    read(copy)


@FUZZ
@given(data=st.data())
def test_a_list_that_says_other_things(whole: Path, copy: Path, data: st.DataObject) -> None:
    """Under right checksums, as whoever makes such a list on purpose would see to."""
    folder = renew(whole, copy)
    entry = list_of(folder)[0]
    say(folder, [data.draw(damaged_json(entry))])
    read(copy)


@pytest.mark.parametrize(
    "name", ["../../outside", "/etc", "files/../../x", "", ".", "files/\0", "files//1"]
)
def test_no_backup_writes_elsewhere(whole: Path, copy: Path, tmp_path: Path, name: str) -> None:
    folder = renew(whole, copy)
    entry = list_of(folder)[0]
    say(folder, [{**entry, "name": name}])
    read(copy, into=tmp_path / "home")
    assert {path.name for path in tmp_path.iterdir()} <= {"copy", "home"}


def list_of(folder: Path) -> list[Any]:
    with gzip.open(folder / "artifacts.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def say(folder: Path, entries: list[Any]) -> None:
    """Write the list anew, and its hash into the manifest."""
    file = folder / "artifacts.jsonl.gz"
    file.write_bytes(gzip.compress("".join(f"{json.dumps(each)}\n" for each in entries).encode()))
    manifest = json.loads((folder / "manifest.json").read_text())
    content = file.read_bytes()
    manifest["files"][file.name] = {
        "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
