"""Artifacts in a local folder and in storage behind fsspec: the same tests for both."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import fsspec
import pytest

from worker.errors import Conflict, CorruptArtifact, DatabaseUnavailable, DiskFull
from worker.storage.artifacts import ArtifactStore

NAME = "jobs/ftjob-1/1/step-120"
DATA = bytes(range(256)) * 10_000
REMOTE = ("memory://", "s3://")
_BUCKETS = itertools.count()


@pytest.fixture(params=["local", "file-url", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
    urls = {
        "local": str(tmp_path / "store"),
        "file-url": f"file://{tmp_path / 'store'}",
        "memory": f"memory://bucket-{next(_BUCKETS)}/prefix",
        "s3": f"s3://bucket-{next(_BUCKETS)}/prefix",
    }
    return urls[request.param]


@pytest.fixture
def store(url: str, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(url, tmp_path / "cache")


def again(store: ArtifactStore, url: str, tmp_path: Path) -> ArtifactStore:
    """The same storage, seen by another process."""
    return ArtifactStore(url, tmp_path / "other-cache")


def publish(store: ArtifactStore, name: str = NAME, **files: bytes) -> None:
    with store.create(name) as staging:
        for file, data in (files if files else {"a.bin": DATA}).items():
            with staging.open(file) as stream:
                for start in range(0, len(data), 100_000):
                    stream.write(data[start : start + 100_000])
        staging.commit()


def damage(url: str, name: str, file: str, data: bytes | None) -> None:
    """Overwrite a stored file behind the store's back, or remove it."""
    fs, root = fsspec.core.url_to_fs(url)
    path = f"{root}/{name}/{file}"
    if data is None:
        fs.rm(path)
    else:
        with fs.open(path, "wb") as stream:
            stream.write(data)


def test_there_and_back(store: ArtifactStore, url: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"copied")
    with store.create(NAME) as staging:
        with staging.open("a.bin") as stream:
            stream.write(DATA)
        copied = staging.add(source, "b.txt")
        made = staging.commit()

    other = again(store, url, tmp_path)
    assert other.get(NAME) == made == other.verify(NAME)
    assert set(made.files) == {"a.bin", "b.txt"}
    assert (copied.bytes, made.files["a.bin"].bytes) == (6, len(DATA))
    assert other.local_path(NAME, "a.bin").read_bytes() == DATA
    with other.open(NAME, "b.txt") as stream:
        assert stream.read() == b"copied"
    with other.open(NAME, "a.bin", len(DATA) - 3) as stream:
        assert stream.read() == DATA[-3:]
    assert source.read_bytes() == b"copied"


def test_an_empty_file_is_a_file(store: ArtifactStore) -> None:
    publish(store, empty=b"")

    assert store.local_path(NAME, "empty").read_bytes() == b""


def test_what_is_not_there(store: ArtifactStore) -> None:
    publish(store)
    for call in (
        lambda: store.get("jobs/none"),
        lambda: store.open("jobs/none", "a.bin"),
        lambda: store.open(NAME, "other"),
        lambda: store.local_path("jobs/none", "a.bin"),
        lambda: store.local_path(NAME, "other"),
        lambda: store.verify("jobs/none"),
        lambda: store.quarantine("jobs/none"),
    ):
        with pytest.raises(FileNotFoundError):
            call()


def test_nothing_is_left_without_commit(store: ArtifactStore, tmp_path: Path) -> None:
    with store.create(NAME) as staging, staging.open("a.bin") as stream:
        stream.write(DATA)
    with pytest.raises(ZeroDivisionError), store.create(NAME) as staging:
        with staging.open("a.bin") as stream:
            stream.write(DATA)
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError), store.create(NAME) as staging, staging.open("a.bin"):
        _ = 1 / 0

    assert list(store.list()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_name_is_given_once(store: ArtifactStore) -> None:
    publish(store, a=b"first")

    with pytest.raises(FileExistsError):
        publish(store, a=b"second")

    assert store.local_path(NAME, "a").read_bytes() == b"first"
    assert list(store.list()) == [NAME]


def test_a_name_is_given_once_to_threads(store: ArtifactStore, url: str) -> None:
    if url.startswith(REMOTE):
        pytest.skip("object stores have no atomic rename; names hold the claim's token")
    outcomes: list[str] = []
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        barrier.wait()
        try:
            publish(store, a=str(number).encode() * 1000)
            outcomes.append("published")
        except FileExistsError:
            outcomes.append("taken")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["published", *["taken"] * 5]
    store.verify(NAME)


@pytest.mark.parametrize(
    "data", [b"", DATA[:-1], DATA + b"x", b"\xff" + DATA[1:]], ids=["empty", "cut", "long", "bit"]
)
def test_damage_is_found(store: ArtifactStore, url: str, tmp_path: Path, data: bytes) -> None:
    publish(store)
    damage(url, NAME, "a.bin", data)
    other = again(store, url, tmp_path)

    for call in (lambda: other.verify(NAME), lambda: other.local_path(NAME, "a.bin")):
        with pytest.raises(CorruptArtifact, match=r"a\.bin"):
            call()


def test_damage_is_found_after_the_file_was_used(store: ArtifactStore, url: str) -> None:
    publish(store)
    path = store.local_path(NAME, "a.bin")
    if url.startswith(REMOTE):
        path.write_bytes(b"the copy")
        assert store.local_path(NAME, "a.bin").read_bytes() == DATA  # fetched anew
        path.write_bytes(b"the copy")
    damage(url, NAME, "a.bin", b"another")

    with pytest.raises(CorruptArtifact):
        store.local_path(NAME, "a.bin")


def test_a_file_that_went_missing(store: ArtifactStore, url: str, tmp_path: Path) -> None:
    publish(store)
    damage(url, NAME, "a.bin", None)
    other = again(store, url, tmp_path)

    with pytest.raises(CorruptArtifact, match="missing"):
        other.verify(NAME)
    with pytest.raises(FileNotFoundError):
        other.local_path(NAME, "a.bin")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"files": []}',
        b'{"files": {"a.bin": 5}}',
        b'{"files": {"a.bin": {"bytes": "x", "sha256": "y"}}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_manifest(store: ArtifactStore, url: str, manifest: bytes) -> None:
    publish(store)
    damage(url, NAME, "manifest.json", manifest)

    for call in (lambda: store.get(NAME), lambda: store.local_path(NAME, "a.bin")):
        with pytest.raises(CorruptArtifact, match="manifest"):
            call()


def test_a_manifest_cannot_point_elsewhere(store: ArtifactStore, url: str, tmp_path: Path) -> None:
    publish(store)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    entry = '{"files": {"../../../../../secret": {"bytes": 6, "sha256": "x"}}}'
    damage(url, NAME, "manifest.json", entry.encode())

    for call in (store.open, store.local_path):
        with pytest.raises(ValueError, match="cannot be part"):
            call(NAME, "../../../../../secret")
    with pytest.raises((CorruptArtifact, ValueError)):
        store.verify(NAME)


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/../b", "/etc", "a//b", "a/", ".hidden", "a\\b", "a\0b", "a b", "x" * 201],
)
def test_names_that_could_lead_astray(store: ArtifactStore, name: str) -> None:
    for call in (
        lambda: store.create(name).__enter__(),
        lambda: store.get(name),
        lambda: store.open(name, "a.bin"),
        lambda: store.delete(name),
        lambda: store.quarantine(name),
        lambda: store.open("jobs/1", name),
        lambda: store.local_path("jobs/1", name),
    ):
        with pytest.raises(ValueError, match="cannot be part"):
            call()
    with (
        store.create("jobs/1") as staging,
        pytest.raises(ValueError, match="cannot be a file"),
        staging.open(name),
    ):
        pass


@pytest.mark.parametrize("file", ["manifest.json", "twice"])
def test_file_names_that_are_taken(store: ArtifactStore, file: str) -> None:
    with store.create(NAME) as staging:
        with staging.open("twice") as stream:
            stream.write(b"x")
        with pytest.raises(ValueError, match="cannot be a file"), staging.open(file):
            pass


def test_listing(store: ArtifactStore) -> None:
    names = ["jobs/a/1/step-1", "jobs/a/1/step-2", "jobs/b/1/step-1", "files/c"]
    for name in names:
        publish(store, name, a=b"x")

    assert sorted(store.list()) == sorted(names)
    assert sorted(store.list("jobs/a")) == names[:2]
    assert list(store.list("jobs/none")) == []
    assert list(store.list("jobs", older_than_seconds=3600)) == []


def test_deleting(store: ArtifactStore) -> None:
    publish(store)
    publish(store, "jobs/other")

    store.delete(NAME)
    store.delete(NAME)

    assert list(store.list()) == ["jobs/other"]
    with pytest.raises(FileNotFoundError):
        store.get(NAME)
    publish(store)  # the name is free again


def test_quarantine_hides_and_keeps(store: ArtifactStore) -> None:
    publish(store)

    store.quarantine(NAME)

    with pytest.raises(FileNotFoundError):
        store.get(NAME)
    assert list(store.list()) == []


def test_free_space(store: ArtifactStore) -> None:
    assert store.free_bytes() > 0


KILLED = """
import os, signal, sys
from pathlib import Path
from worker.storage import artifact_backends
from worker.storage.artifacts import ArtifactStore

moment = sys.argv[3]
store = ArtifactStore(sys.argv[1], Path(sys.argv[2]))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with store.create("jobs/x") as staging:
    with staging.open("a.bin") as stream:
        stream.write(b"x" * 100_000)
        if moment == "writing":
            die()
    if moment == "before":
        die()
    if moment == "renaming":
        Path.rename = die
    staging.commit()
    if moment == "after":
        die()
"""


@pytest.mark.parametrize("moment", ["writing", "before", "renaming", "after"])
def test_killed_in_between(tmp_path: Path, moment: str) -> None:
    url = str(tmp_path / "store")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, url, str(tmp_path / "cache"), moment], check=False
    )
    store = ArtifactStore(url, tmp_path / "cache")

    assert killed.returncode == -signal.SIGKILL
    assert list(store.list()) == (["jobs/x"] if moment == "after" else [])
    if moment == "after":
        store.verify("jobs/x")
    else:
        publish(store, "jobs/x", a=b"x")
        assert store.sweep_staging(older_than_seconds=3600) == 0
        assert store.sweep_staging(older_than_seconds=-1) == 1


def test_an_upload_that_broke_off_is_not_there(tmp_path: Path) -> None:
    """The manifest goes last, so files without one are no artifact."""
    url = f"memory://bucket-{next(_BUCKETS)}"
    store = ArtifactStore(url, tmp_path / "cache")
    damage(url, NAME, "a.bin", DATA)

    assert list(store.list()) == []
    with pytest.raises(FileNotFoundError):
        store.local_path(NAME, "a.bin")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    store = ArtifactStore(str(tmp_path / "store"))
    ordinary = Path.open

    def on_full_disk(path: Path, mode: str = "r") -> IO[Any]:
        return ordinary(full, "wb") if path.name == "a" else ordinary(path, mode)

    monkeypatch.setattr(Path, "open", on_full_disk)

    with pytest.raises(DiskFull) as caught:
        publish(store, a=DATA)

    assert caught.value.code == "disk_full"
    monkeypatch.undo()
    assert list(store.list()) == []


def test_files_are_written_to_the_disk_before_they_get_their_name(tmp_path: Path) -> None:
    """The order of fsync and rename, as the system saw it."""
    store = ArtifactStore(str(tmp_path / "store"))
    seen: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    with pytest.MonkeyPatch.context() as patch:

        def fsync(descriptor: int) -> None:
            seen.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
            real_fsync(descriptor)

        def rename(path: Path, target: Path) -> Path:
            seen.append("renamed")
            return real_rename(path, target)

        patch.setattr(os, "fsync", fsync)
        patch.setattr(Path, "rename", rename)
        publish(store, "jobs/1/a", **{"a.bin": DATA})

    # the files, the folder itself, the new parents in their own parents, its name
    after = seen[seen.index("a.bin") :]
    staged = after[2]
    assert after == ["a.bin", "manifest.json", staged, "store", "jobs", "renamed", "1"]
    assert staged.startswith("tmp")


def test_copies_that_were_fetched_go_with_their_store() -> None:
    store = ArtifactStore(f"memory://bucket-{next(_BUCKETS)}")
    publish(store, **{"a.bin": b"a deleted model is nowhere"})
    path = store.local_path(NAME, "a.bin")
    assert path.read_bytes() == b"a deleted model is nowhere"

    del store
    gc.collect()

    assert not path.exists() and not path.parent.parent.exists()


def test_what_was_refused_goes_and_what_may_be_pointed_to_stays(store: ArtifactStore) -> None:
    for error, stays in (
        (Conflict("no"), False),
        (DatabaseUnavailable("it broke in the commit"), True),
        (RuntimeError("who knows"), True),
    ):
        publish(store)
        with pytest.raises(type(error)), store.deleted_if_refused(NAME):
            raise error
        assert list(store.list()) == ([NAME] if stays else [])
        store.delete(NAME)
