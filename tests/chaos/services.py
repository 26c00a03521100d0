"""Redis and PostgreSQL of a test's own: killed, frozen and started again at will."""

from __future__ import annotations

import importlib.util
import os
import pwd
import signal
import subprocess
import time
import warnings
from pathlib import Path
from typing import Self

import psycopg
import pytest
import redis

from tests.stack import free_port, kill_family
from worker.stack.embedded_redis import find_server

START_SECONDS = 60


class Service:
    """A server process on a port that stays the same from life to life; it runs in its block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    user: str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=log, stderr=log, user=self.user,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, "the server ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """To the server and all of its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()


class RedisServer(Service):
    """Without persistence: what it held is gone with it."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        folder.mkdir()
        self._options = options

    def command(self) -> list[str]:
        port = str(self.port)
        fixed = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [str(find_server()), *fixed, *self._options]

    def url(self, port: int | None = None) -> str:
        return f"redis://127.0.0.1:{self.port if port is None else port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class PostgresServer(Service):
    """pgserver's program, listening on a port of the loopback address."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if importlib.util.find_spec("pgserver") is None:
            pytest.skip("pgserver is not installed: no PostgreSQL to test against")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of platformdirs, about XDG_RUNTIME_DIR
            import pgserver
            from pgserver.utils import ensure_prefix_permissions, ensure_user_exists
        self._programs = Path(pgserver.__file__).parent / "pginstall" / "bin"
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            self.user = "pgserver"
            ensure_user_exists(self.user)
            account = pwd.getpwnam(self.user)
            os.chown(folder, account.pw_uid, account.pw_gid)
            ensure_prefix_permissions(folder)
        made = [self._programs / "initdb", "-D", folder, "-U", "postgres", "--auth=trust"]
        subprocess.run(made, check=True, capture_output=True, user=self.user, cwd=folder)

    def command(self) -> list[str]:
        where = ["-D", str(self.folder), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        return [str(self._programs / "postgres"), *where]

    def url(self, port: int | None = None) -> str:
        port = self.port if port is None else port
        return f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"

    def answers(self) -> bool:
        where = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout=2"
        try:
            psycopg.connect(where).close()
        except psycopg.Error:
            return False
        return True

    def kill(self) -> None:
        """Each of its processes leads a session of its own, so they are killed by parentage."""
        if self.process is not None and self.process.poll() is None:
            kill_family(self.process)
