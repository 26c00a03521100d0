"""The whole service on one machine: Redis, web, reconciler and workers, watched until the end.

`Stack` is used by ``textgen up`` and by the demo: ``with Stack(settings, log) as stack:
stack.start(); stack.watch()``.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Self, TextIO

import httpx

from textgen.errors import TextgenError
from web.cli.stack_programs import (
    RECONCILER,
    REDIS,
    TRAINER,
    WEB,
    generator_names,
    redis_program,
    service_programs,
    share_cores,
)
from worker.processes.cores import available_cores
from worker.settings import Settings
from worker.stack.embedded_redis import (
    HOST,
    EmbeddedRedis,
    free_port,
    prepare_redis,
    put_data_aside,
)
from worker.stack.home_lock import HomeLock, stack_file, write_stack
from worker.stack.ledger import sweep
from worker.stack.process_output import Log
from worker.stack.supervisor import Backoff, Supervisor
from worker.storage.database import Database
from worker.storage.keys import Keys

READY_SECONDS = 90.0  # a slow disk and a cold import of torch fit in
REDIS_SECONDS = 15.0
EARLY_DEATHS = 3  # of one process before the stack is ready: it will not get better by itself
WEB_DRAIN_SECONDS = 4.0  # what is left of the 90 s after the workers had theirs
REDIS_DRAIN_SECONDS = 3.0


class StackFailed(TextgenError):
    """The stack did not come up; the log above the message says why."""

    default_code = "stack_failed"


class StoppedEarly(Exception):
    """Somebody asked to stop before everything was up."""


class Stop:
    """Whether SIGTERM or SIGINT came; a second SIGINT, or SIGQUIT, means in a hurry."""

    def __init__(self) -> None:
        self.asked = False
        self.hurry = False

    def install(self) -> None:
        """Take the signals over."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        again = self.asked and number == signal.SIGINT
        self.hurry = self.hurry or again or number == signal.SIGQUIT
        self.asked = True


class Stack:
    """An embedded stack on ``settings.home``; leaving the context ends all of it."""

    def __init__(self, settings: Settings, output: TextIO) -> None:
        self.settings = settings
        self.stop = Stop()
        self._output = output
        self._redis_port: int | None = None

    def __enter__(self) -> Self:
        """Take the home, clear what a killed stack left, settle the port."""
        home = self.settings.home
        with ExitStack() as taken:
            lock = taken.enter_context(HomeLock(home))
            sweep(home / "children.json")
            self.settings = self.settings.model_copy(update={"port": choose_port(self.settings)})
            self._write_facts()
            taken.callback(stack_file(home).unlink, missing_ok=True)
            names = [WEB, RECONCILER, TRAINER, *generator_names(self.settings), REDIS]
            log = Log(self._output, names, prefixed=self.settings.log_format == "text")
            self._supervisor = taken.enter_context(
                Supervisor(
                    home / "children.json",
                    log,
                    backoff=Backoff(good_run=self.settings.good_run_seconds),
                    inherited=(lock.descriptor,),
                )
            )
            self._resources = taken.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Drain what is not drained yet, whatever has happened, then end everything."""
        try:
            self.drain()
        finally:
            self._resources.close()

    @property
    def url(self) -> str:
        """Where people and programs on this machine reach it."""
        return f"http://{reachable(self.settings.bind)}:{self.settings.port}"

    def start(self) -> None:
        """Bring everything up and wait until it is ready; raises StackFailed, StoppedEarly."""
        if not self.settings.broker_url:
            self._start_redis()
        database = Database(self.settings.effective_database_url)
        database.migrate()
        Keys(database).ensure_admin(self.settings)
        shares = share_cores(available_cores(), self.settings)
        for program in service_programs(self.settings, shares):
            self._supervisor.start(program)
        self._wait(lambda: is_ready(self.url), READY_SECONDS, "did not become ready")

    def watch(self) -> None:
        """Keep everything running until a signal asks to stop."""
        while not self.stop.asked:
            self._supervisor.turn()

    def turn(self) -> None:
        """Keep everything running for a moment."""
        self._supervisor.turn()

    def drain(self) -> None:
        """Workers first, so that jobs keep checkpoints; then web, reconciler and Redis."""
        workers = [TRAINER, *generator_names(self.settings)]
        self._drain(workers, self.settings.drain_seconds)
        self._drain([WEB, RECONCILER], WEB_DRAIN_SECONDS)
        self._drain([REDIS], REDIS_DRAIN_SECONDS)

    def _drain(self, names: list[str], seconds: float) -> None:
        self._supervisor.drain(names, seconds, lambda: self.stop.hurry)

    def _start_redis(self) -> None:
        folder = self.settings.home / "redis"
        server = prepare_redis(folder)
        if not self._redis_came_up(server):
            self._supervisor.drain([REDIS], REDIS_DRAIN_SECONDS)
            if not put_data_aside(folder):
                raise StackFailed(f"{server.program} does not start; {server.log} says why.")
            server = prepare_redis(folder)
            if not self._redis_came_up(server):
                raise StackFailed(f"{server.program} does not start; {server.log} says why.")
        self._redis_port = server.port
        self.settings = self.settings.with_broker(HOST, server.port, server.password)
        self._write_facts()

    def _redis_came_up(self, server: EmbeddedRedis) -> bool:
        self._supervisor.start(redis_program(server))
        try:
            self._wait(server.answers, REDIS_SECONDS, "did not answer")
        except StackFailed:
            return False
        return True

    def _wait(self, ready: Callable[[], bool], seconds: float, problem: str) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            self._supervisor.turn(0.05)
            for name, child in self._supervisor.children.items():
                if child.failures >= EARLY_DEATHS:
                    raise StackFailed(f"{name} cannot be started; its lines above say why.")
            if self.stop.asked:
                raise StoppedEarly
            if time.monotonic() > deadline:
                raise StackFailed(f"The service {problem} within {seconds:.0f} s.")

    def _write_facts(self) -> None:
        facts = {"base_url": self.url, "pid": os.getpid(), "redis_port": self._redis_port}
        write_stack(self.settings.home, facts)


def is_ready(url: str) -> bool:
    """Whether the service answers there; asked directly, whatever proxy the environment names."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def choose_port(settings: Settings) -> int:
    """The port asked for, or a free one for 0; raises StackFailed when it is taken."""
    if settings.port == 0:
        return free_port()
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.bind, settings.port))
        except OSError as error:
            raise StackFailed(
                f"Port {settings.port} on {settings.bind} cannot be used ({error.strerror}). "
                "Choose another: PORT=8001 textgen up"
            ) from None
    return settings.port


def reachable(bind: str) -> str:
    """The address to connect to for a bind address, ready for a URL."""
    if bind in ("0.0.0.0", ""):  # noqa: S104  compared with, not bound
        return HOST
    if bind == "::":
        return "[::1]"
    return f"[{bind}]" if ":" in bind else bind
