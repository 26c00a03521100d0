"""A real Redis, started as the embedded stack does."""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from worker.stack.embedded_redis import (
    HOST,
    EmbeddedRedis,
    RedisMissing,
    find_server,
    install_command,
    prepare_redis,
    put_data_aside,
)
from worker.stack.process_output import Log
from worker.stack.supervisor import Program, Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "children.json", Log(io.StringIO(), ["redis"])) as supervisor:
        yield supervisor


def bring_up(supervisor: Supervisor, folder: Path) -> EmbeddedRedis:
    server = prepare_redis(folder)
    supervisor.start(Program("redis", server.command, {}))
    deadline = time.monotonic() + 60
    while not server.answers():
        assert time.monotonic() < deadline, server.log.read_text()
        supervisor.turn(0.02)
    return server


def test_it_takes_the_password_alone_and_shows_it_to_nobody(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    server = bring_up(supervisor, tmp_path / "redis")

    with pytest.raises(redis.AuthenticationError), redis.Redis(HOST, server.port) as stranger:
        stranger.ping()
    process = supervisor.children["redis"].process
    assert process is not None
    assert server.password not in " ".join(psutil.Process(process.pid).cmdline())
    assert stat.S_IMODE(server.config.stat().st_mode) == 0o600


def test_it_keeps_its_data_over_a_restart_and_evicts_nothing(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    server = bring_up(supervisor, tmp_path / "redis")
    with redis.Redis(HOST, server.port, password=server.password) as client:
        client.set("key", "kept")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
    supervisor.drain(["redis"], seconds=5)

    again = bring_up(supervisor, tmp_path / "redis")

    assert again.password != server.password
    with redis.Redis(HOST, again.port, password=again.password) as client:
        assert client.get("key") == b"kept"


def test_damaged_data_is_put_aside(supervisor: Supervisor, tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    damaged = folder / "appendonly.aof"
    damaged.write_bytes(b"nonsense")

    assert put_data_aside(folder)

    assert bring_up(supervisor, folder).answers()
    assert (folder / "damaged" / "appendonly.aof").read_bytes() == b"nonsense"
    assert not put_data_aside(tmp_path)


def test_a_server_on_the_path_comes_before_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "valkey-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_server() == own


def test_without_any_the_error_has_the_command_that_installs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = tmp_path / "brew"
    manager.write_text("#!/bin/sh\n")
    manager.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.path", [os.fspath(tmp_path)])

    assert install_command() == "brew install redis"
    with pytest.raises(RedisMissing, match="brew install redis"):
        find_server()
