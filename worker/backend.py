"""The parts that web process and workers both need, opened once a process."""

from __future__ import annotations

from dataclasses import dataclass

from worker.jobs.jobs import Jobs
from worker.settings import Settings
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.files import Files
from worker.storage.models import Models


@dataclass(frozen=True)
class Backend:
    """Database, storage and what is kept in them. Safe to share between threads."""

    settings: Settings
    database: Database
    store: ArtifactStore
    files: Files
    jobs: Jobs
    models: Models


def open_backend(settings: Settings) -> Backend:
    """Open everything; the tables are brought up to date first."""
    database = Database(settings.effective_database_url)
    database.migrate()
    store = ArtifactStore(
        settings.effective_storage_url,
        settings.copies_folder,
        cache_bytes=settings.storage_cache_bytes,
    )
    return Backend(
        settings=settings,
        database=database,
        store=store,
        files=Files(database, store),
        jobs=Jobs(database, settings),
        models=Models(database),
    )
