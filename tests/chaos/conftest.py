"""What the fault tests share: rigs, the number of repetitions, and the record of what was seen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.acceptance.conftest import VERSES
from tests.chaos.rig import Rig
from tests.chaos.services import PostgresServer, RedisServer

NewRig = Callable[..., AbstractContextManager[Rig]]


@pytest.fixture(scope="session")
def repeat() -> int:
    """Repetitions of each kill; `make chaos` sets it."""
    return int(os.environ.get("TEXTGEN_CHAOS_REPEAT", "1"))


@pytest.fixture(scope="session")
def seed() -> int:
    return int(os.environ.get("TEXTGEN_CHAOS_SEED", str(int.from_bytes(os.urandom(4)))))


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "verses.txt"
    path.write_text(VERSES * 4)
    return path


@pytest.fixture(scope="session")
def new_rig(tmp_path_factory: pytest.TempPathFactory, text: Path, seed: int) -> NewRig:
    """Starts a stack of one's own; TEXTGEN_… values may be given by their lower-case names."""

    @contextmanager
    def make(name: str, database_url: str = "", **settings: object) -> Iterator[Rig]:
        environment = {f"TEXTGEN_{key.upper()}": str(value) for key, value in settings.items()}
        rig = Rig(tmp_path_factory.mktemp(name), text, seed, database_url, **environment)
        try:
            rig.start()
            yield rig
        except BaseException:
            print(f"seed {seed}\n{rig.stack.log_text()[-8000:]}")
            raise
        finally:
            rig.close()

    return make


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """That of the stack which a module's tests share."""
    with RedisServer(tmp_path_factory.mktemp("shared") / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def shared_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """That of the stack which a module's tests share."""
    with PostgresServer(tmp_path_factory.mktemp("shared") / "postgresql") as server:
        yield server


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "postgresql") as server:
        yield server


class Recorder:
    """Compares after each repetition, and writes down what was seen for docs/reliability.md."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def begin(self, rig: Rig) -> None:
        rig.still.take()

    def end(
        self, rig: Rig, row: str, fault: str, *, seconds: float | None = None, **figures: object
    ) -> None:
        """One repetition is over: everything accepted must have ended as it should."""
        verdict = rig.ledger.settle()
        value = {
            "row": row,
            "fault": fault,
            "database": "SQLite" if rig.database.is_sqlite else "PostgreSQL",
            "seconds": None if rig.still.take() else seconds,
            **{name: len(faults) for name, faults in asdict(verdict).items()},
            **figures,
        }
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(value) + "\n")
        assert verdict.clean, verdict


@pytest.fixture(scope="session")
def record() -> Recorder:
    path = os.environ.get("TEXTGEN_CHAOS_RESULTS")
    return Recorder(Path(path) if path else None)
