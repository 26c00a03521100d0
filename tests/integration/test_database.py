from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tests.integration.conftest import fill_disk, migrate
from worker.all_tables import METADATA
from worker.errors import DatabaseUnavailable, DiskFull, InvalidSetting
from worker.storage.database import Database
from worker.storage.tables import workers

WORKER = {"incarnation": "a", "role": "train", "queue": "training", "slots": 1}
SEEN = {"started_at": 1.0, "seen_at": 1.0}


def add_worker(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.insert(workers).values(name=name, **WORKER, **SEEN))


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(workers.c.name)).scalars())


@pytest.mark.filterwarnings("ignore:autogenerate skipping:UserWarning")
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection:sqlalchemy.exc.SAWarning")
def test_the_revisions_make_the_tables_that_the_code_declares(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": False, "target_metadata": METADATA}
        )
        differences = [
            difference
            for difference in compare_metadata(context, METADATA)
            # an index over an expression cannot be compared; that it is there is seen below
            if not (difference[0].endswith("_index") and difference[1].name == "jobs_claim")
        ]
        found = sa.inspect(connection).get_table_names()
        indexes = set(
            connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'index'"
                if database.is_sqlite
                else "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
            ).scalars()
        )

    assert differences == []
    assert {index.name for table in METADATA.tables.values() for index in table.indexes} <= indexes
    assert set(METADATA.tables) | {"alembic_version"} == set(found)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_start_at_once_migrate_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'new.db'}"
    else:
        server: sa.URL = request.getfixturevalue("postgresql_server")
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE at_once_{tmp_path.name[-1]}"))
        engine.dispose()
        url = server.set(database=f"at_once_{tmp_path.name[-1]}").render_as_string(False)
    program = (
        "import sys; from worker.storage.database import Database; Database(sys.argv[1]).migrate()"
    )

    starting = [
        subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outcomes = [(process.communicate()[1], process.returncode) for process in starting]

    assert [code for _, code in outcomes] == [0, 0, 0], outcomes
    migrate(url)
    database = Database(url)
    assert names(database) == []
    database.dispose()


def test_a_write_is_kept_whole_or_not_at_all(database: Database) -> None:
    with database.write() as connection:
        add_worker(connection, "kept")
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        add_worker(connection, "lost")
        _ = 1 / 0

    assert names(database) == ["kept"]


def test_what_a_read_writes_is_not_kept(database: Database) -> None:
    with database.read() as connection:
        add_worker(connection, "lost")

    assert names(database) == []


def test_the_clock_goes_on(database: Database) -> None:
    with database.read() as connection:
        first, second = database.now(connection), database.now(connection)

    assert first <= second < first + 5
    assert first > 1_700_000_000


def test_writers_in_many_threads_wait_for_each_other(database: Database) -> None:
    def write(number: int) -> None:
        for step in range(10):
            with database.write() as connection:
                add_worker(connection, f"{number}-{step}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(names(database)) == 60


def test_sqlite_is_set_for_durability(migrated_sqlite: Path) -> None:
    database = Database(f"sqlite:///{migrated_sqlite}")
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.dispose()

    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


def test_sqlite_locked_for_longer_than_we_wait(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    migrate(f"sqlite:///{path}")
    database = Database(f"sqlite:///{path}", busy_seconds=0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(DatabaseUnavailable) as caught, database.write() as connection:
        add_worker(connection, "late")
    assert names(database) == []  # reading goes on
    other.execute("ROLLBACK")
    with database.write() as connection:
        add_worker(connection, "in time")

    assert caught.value.code == "database_unavailable"
    assert names(database) == ["in time"]
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    other.close()
    database.dispose()


def test_a_programming_error_is_not_called_an_outage(database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError), database.read() as connection:
        connection.execute(sa.text("SELECT nothing FROM nowhere"))


def test_postgresql_away(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://nobody@/none?host={tmp_path}")

    with pytest.raises(DatabaseUnavailable):
        database.ping()
    database.dispose()


def test_postgresql_cuts_the_connection(new_postgresql: Callable[[], str]) -> None:
    database = Database(new_postgresql())
    database.ping()
    with pytest.raises(DatabaseUnavailable), database.write() as connection:
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with database.read() as other:
            other.execute(sa.text(f"SELECT pg_terminate_backend({pid})"))
        add_worker(connection, "lost")

    database.ping()  # heals by itself
    assert names(database) == []
    database.dispose()


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/name", "postgresql+asyncpg://host/name", "sqlite+x:///a"]
)
def test_a_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Database(url)

    assert caught.value.param == "TEXTGEN_DATABASE_URL"
    assert "sqlite:///path" in caught.value.message


def test_a_full_disk_is_said_and_passes(database: Database) -> None:
    """Whoever rides out a database that is away rides out this."""
    for kind in (DiskFull, DatabaseUnavailable):
        with pytest.raises(kind, match="disk is full") as caught:
            fill_disk(database)
        assert (caught.value.code, getattr(caught.value, "retry_after", 0)) == ("disk_full", 60)

    with database.write() as connection:
        add_worker(connection, "w1")
    assert names(database) == ["w1"]
