"""Uploads in parts: what was answered is safe, and the file is whole or not there."""

from __future__ import annotations

import hashlib
import threading

import pytest
import sqlalchemy as sa

from textgen.errors import InvalidInput
from worker.backend import Backend
from worker.errors import Conflict, NotFound, TooLarge
from worker.processes.sweep import Sweep
from worker.storage.ids import new_id
from worker.storage.tables import uploads as table
from worker.storage.upload_rows import Upload
from worker.storage.uploads import Uploads

DATA = [b"first ", b"second ", b"third"]
WHOLE = b"".join(DATA)


@pytest.fixture
def uploads(backend: Backend) -> Uploads:
    return Uploads(backend.database, backend.store)


def begin(uploads: Uploads, size: int = len(WHOLE)) -> Upload:
    return uploads.create(
        "acme", filename="a.txt", mime_type="text/plain", purpose="fine-tune", bytes=size
    )


def add(backend: Backend, uploads: Uploads, upload: Upload, content: bytes) -> str:
    part_id = new_id("part_")
    with backend.store.create(f"uploads/{upload.id}/{part_id}") as staging:
        with staging.open("content") as target:
            target.write(content)
        artifact = staging.commit()
    info = artifact.files["content"]
    return uploads.add_part(
        "acme", upload.id, part_id, bytes=info.bytes, sha256=info.sha256, artifact=artifact.name
    ).id


def test_parts_become_a_file_in_the_order_asked_for(backend: Backend, uploads: Uploads) -> None:
    upload = begin(uploads)
    ids = [add(backend, uploads, upload, content) for content in reversed(DATA)][::-1]
    md5 = hashlib.md5(WHOLE).hexdigest()  # noqa: S324

    done, file_id = uploads.complete("acme", upload.id, ids, md5)
    again = uploads.complete("acme", upload.id, ids, md5)

    assert (done.status, again[1]) == ("completed", file_id)
    row = backend.files.get("acme", file_id)
    with backend.files.open(row) as stream:
        assert stream.read() == WHOLE
    assert row.sha256 == hashlib.sha256(WHOLE).hexdigest()
    assert list(backend.store.list("uploads")) == []
    with pytest.raises(Conflict):
        uploads.cancel("acme", upload.id)


def test_a_part_that_came_twice_is_used_once(backend: Backend, uploads: Uploads) -> None:
    upload = begin(uploads)
    add(backend, uploads, upload, DATA[0])  # its answer was lost, the client sent it again
    ids = [add(backend, uploads, upload, content) for content in DATA]

    _, file_id = uploads.complete("acme", upload.id, ids)

    assert backend.files.get("acme", file_id).bytes == len(WHOLE)


def test_what_does_not_fit_together_is_refused(backend: Backend, uploads: Uploads) -> None:
    upload = begin(uploads)
    ids = [add(backend, uploads, upload, content) for content in DATA]

    for wrong in (ids[:2], [*ids, ids[0]], [*ids[:2], "part_none"]):
        with pytest.raises(InvalidInput):
            uploads.complete("acme", upload.id, wrong)
    with pytest.raises(InvalidInput) as caught:
        uploads.complete("acme", upload.id, ids, "0" * 32)
    assert caught.value.code == "checksum_mismatch"
    with pytest.raises(TooLarge):
        add(backend, uploads, upload, b"x" * 50)
    with pytest.raises(NotFound):
        uploads.complete("globex", upload.id, ids)
    assert backend.files.list("acme").items == []
    assert uploads.complete("acme", upload.id, ids)[0].status == "completed"


def test_several_complete_at_once_and_one_file_is_made(backend: Backend, uploads: Uploads) -> None:
    upload = begin(uploads)
    ids = [add(backend, uploads, upload, content) for content in DATA]
    found: list[str] = []
    ready = threading.Barrier(3)

    def complete() -> None:
        ready.wait()
        try:
            found.append(uploads.complete("acme", upload.id, ids)[1])
        except (FileNotFoundError, InvalidInput):  # the parts went while it read them
            found.append(uploads.complete("acme", upload.id, ids)[1])

    threads = [threading.Thread(target=complete) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1 and len(found) == 3
    assert len(backend.files.list("acme").items) == 1
    assert len(list(backend.store.list("files"))) == 1


def test_all_that_is_late_goes_in_one_pass(
    backend: Backend, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.storage.uploads.AT_ONCE", 2)
    late = [begin(uploads) for _ in range(5)]
    for upload in late:
        add(backend, uploads, upload, DATA[0])
    with backend.database.write() as connection:
        connection.execute(sa.update(table).values(expires_at=1.0))

    assert uploads.expire_old() == 5

    assert {uploads.get("acme", upload.id).status for upload in late} == {"expired"}
    assert list(backend.store.list("uploads")) == []


def test_what_is_not_completed_goes(backend: Backend, uploads: Uploads) -> None:
    late, cancelled = begin(uploads), begin(uploads)
    for upload in (late, cancelled):
        add(backend, uploads, upload, DATA[0])
    uploads.cancel("acme", cancelled.id)
    with backend.database.write() as connection:
        connection.execute(sa.update(table).where(table.c.id == late.id).values(expires_at=1.0))

    Sweep(backend).run()

    assert uploads.get("acme", late.id).status == "expired"
    assert list(backend.store.list("uploads")) == []
    with pytest.raises(Conflict):
        add(backend, uploads, late, DATA[0])
    assert Sweep(backend, young_seconds=0).remove_orphans() == 1  # of the refused part
