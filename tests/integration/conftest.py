"""Real databases: every test that asks for one runs on a SQLite file and on PostgreSQL."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests import s3_server
from worker.backend import Backend
from worker.errors import InsufficientQuota
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.jobs.tables import jobs as job_table
from worker.settings import Settings
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.files import Files
from worker.storage.models import Models

NewDatabase = Callable[[str], str]


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.URL]:
    """A PostgreSQL of this run's own; its URL, with rights to make databases."""
    if importlib.util.find_spec("pgserver") is None:
        pytest.skip("pgserver is not installed: no PostgreSQL to test against")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, about XDG_RUNTIME_DIR
        import pgserver

        server = pgserver.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="stop")
    try:
        yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def new_postgresql(postgresql_server: sa.URL) -> Callable[[], str]:
    """Makes a database with all tables, by copying one that was migrated once."""
    numbers = itertools.count()

    def make(template: str = "") -> str:
        name = f"test_{next(numbers)}"
        engine = sa.create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            copied = f" TEMPLATE {template}" if template else ""
            connection.execute(sa.text(f"CREATE DATABASE {name}{copied}"))
        engine.dispose()
        return name

    def url(name: str) -> str:
        return postgresql_server.set(database=name).render_as_string(hide_password=False)

    template = make()
    migrate(url(template))
    return lambda: url(make(template))


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes a fresh database with all tables and gives its URL."""
    if request.param == "postgresql":
        make: Callable[[], str] = request.getfixturevalue("new_postgresql")
        return make
    empty: Path = request.getfixturevalue("migrated_sqlite")
    folder = tmp_path_factory.mktemp("databases")
    numbers = itertools.count()

    def copy() -> str:
        path = folder / f"{next(numbers)}.db"
        path.write_bytes(empty.read_bytes())
        return f"sqlite:///{path}"

    return copy


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.S3Server]:
    """A server that speaks S3, which this process and its children find by their environment."""
    if not s3_server.PROGRAM.exists():
        pytest.skip(s3_server.MISSING)
    with (
        s3_server.S3Server(tmp_path_factory.mktemp("s3")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in server.environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [*sys.path, str(s3_server.PACKAGES)])
        yield server


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(home=tmp_path, database_url=database_url)


@pytest.fixture
def backend(settings: Settings, database: Database) -> Backend:
    store = ArtifactStore(settings.effective_storage_url)
    return Backend(
        settings=settings,
        database=database,
        store=store,
        files=Files(database, store),
        jobs=Jobs(database, settings),
        models=Models(database),
    )


@pytest.fixture
def jobs(backend: Backend) -> Jobs:
    return backend.jobs


@pytest.fixture
def expire(database: Database) -> Callable[[Job], None]:
    """Make a running job's lease run out now."""

    def run_out(job: Job) -> None:
        with database.write() as connection:
            connection.execute(
                sa.update(job_table)
                .where(job_table.c.id == job.id)
                .values(lease_expires_at=database.now(connection) - 1)
            )

    return run_out


def migrate(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.dispose()


def run(jobs: Jobs, worker: str = "w1", incarnation: str = "a") -> Job:
    """Claim the training whose turn it is; there must be one."""
    job = jobs.claim("training", worker, incarnation)
    assert job is not None
    return job


def events_are_whole(jobs: Jobs, job_id: str, tenant: str = "default") -> list[str]:
    """The types of a job's events, whose numbers have no gap."""
    events = jobs.events(tenant, job_id, limit=10_000)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    return [event.type for event in events]


def store(backend: Backend, name: str) -> str:
    """An artifact of this name with a text in it; the name."""
    with backend.store.create(name) as staging:
        with staging.open("content") as stream:
            stream.write(b"text")
        staging.commit()
    return name


def fill_disk(database: Database) -> None:
    """Write what the database refuses since its disk is full."""
    own = Database(database.url)  # whose connection goes, and the bound with it
    try:
        with own.write() as connection:
            if own.is_sqlite:
                connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as many as there are
                connection.exec_driver_sql("CREATE TABLE big AS SELECT zeroblob(10000000)")
            else:
                connection.exec_driver_sql(
                    "DO $$ BEGIN RAISE EXCEPTION 'No space left' USING ERRCODE = '53100'; END $$"
                )
    finally:
        own.dispose()


def admitted_at_once(count: int, url: str, submit: Callable[[Database], object]) -> int:
    """How many of so many submissions in one moment are admitted; each has its own connection."""
    ready = threading.Barrier(count)

    def one(_: int) -> bool:
        own = Database(url)
        ready.wait()
        try:
            submit(own)
        except InsufficientQuota:
            return False
        finally:
            own.dispose()
        return True

    with ThreadPoolExecutor(count) as pool:
        return sum(pool.map(one, range(count)))
