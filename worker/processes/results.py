"""Files that a job makes: stored first, published by the commit that ends the job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from worker.backend import Backend
from worker.jobs.shards import ShardRow
from worker.processes.lease import Lease
from worker.storage.artifact_staging import FileInfo, HashingWriter
from worker.storage.files import NewFile, add_file
from worker.storage.ids import new_id

FILE = "content"
# Of what scorings and evaluations write: of OpenAI's words the one that promises nothing.
RESULTS_PURPOSE = "user_data"
CHUNK = 2**20


@dataclass
class Result:
    """A file on its way to its owner; write to ``stream`` while it is open."""

    id: str
    filename: str
    purpose: str
    stream: HashingWriter
    expires_in: float | None = None  # seconds from the end of the job; None: kept
    info: FileInfo | None = None

    @property
    def artifact(self) -> str:
        """Where its bytes lie."""
        return f"files/{self.id}"

    def publish(self, connection: Connection, tenant: str, now: float) -> None:
        """Make it known, within the transaction that ends the job."""
        if self.info is None:
            raise RuntimeError(f"{self.filename} was not stored")
        new = NewFile(
            id=self.id,
            filename=self.filename,
            purpose=self.purpose,
            bytes=self.info.bytes,
            sha256=self.info.sha256,
            artifact=self.artifact,
            file=FILE,
            expires_in=self.expires_in,
        )
        add_file(connection, tenant, new, now)


def store_joined(
    backend: Backend,
    lease: Lease,
    shards: Sequence[ShardRow],
    file: str,
    filename: str,
    purpose: str,
    *,
    expires_in: float | None = None,
) -> Result:
    """Copy a file of each shard behind each other into a file of their own."""
    with store_result(backend, filename, purpose, expires_in=expires_in) as result:
        for shard in shards:
            lease.keep()
            with backend.store.open(shard.artifact, file) as part:
                shutil.copyfileobj(part, result.stream, CHUNK)
    return result


@contextmanager
def store_result(
    backend: Backend, filename: str, purpose: str, *, expires_in: float | None = None
) -> Iterator[Result]:
    """Store what is written in the block; an exception leaves nothing behind."""
    file_id = new_id("file-")
    with backend.store.create(f"files/{file_id}") as staging:
        with staging.open(FILE) as stream:
            result = Result(file_id, filename, purpose, stream, expires_in)
            yield result
        result.info = staging.commit().files[FILE]
