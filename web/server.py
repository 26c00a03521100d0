"""Runs the web process: gunicorn, one worker process, a thread for each open request.

The reasons are in docs/decisions/web-server.md. ``python -m web.server`` starts it with the
settings of the environment; SIGTERM lets open requests finish first.
"""

from __future__ import annotations

import logging
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import ThreadWorker

from textgen.errors import TextgenError
from worker.errors import InvalidSetting
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from flask import Flask

KEEPALIVE_SECONDS = 75  # longer than the pause between two polls of a waiting client
GRACEFUL_SECONDS = 60
SPARE_CONNECTIONS = 2000  # kept alive without holding a thread


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, which also tells streams without an end that it stops."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM: no new connections, event streams end, everything else finishes."""
        if self.app.callable is not None:
            self.app.callable.extensions["textgen"].stopping.set()
        super().handle_exit(sig, frame)


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with this project's settings and no configuration file."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        settings = self.settings
        host = f"[{settings.bind}]" if ":" in settings.bind else settings.bind
        values: dict[str, Any] = {
            "bind": f"{host}:{settings.port}",
            "workers": 1,
            "worker_class": Worker,
            "threads": settings.web_threads,
            "worker_connections": settings.web_threads + SPARE_CONNECTIONS,
            "keepalive": KEEPALIVE_SECONDS,
            "graceful_timeout": GRACEFUL_SECONDS,
            "control_socket_disable": True,
            "loglevel": "warning",
            "proc_name": "textgen-web",
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build the app in the worker process, after the fork: it opens connections.

        Its modules are imported here, so that the parent, which only watches, stays small.
        """
        from web.app import create_app
        from web.services import build_services

        try:
            return create_app(build_services(self.settings))
        except TextgenError as error:
            logging.getLogger("textgen.web").critical("cannot start: %s", error.message)
            sys.exit(Arbiter.APP_LOAD_ERROR)


def main() -> None:
    """Serve until SIGTERM."""
    try:
        settings = load_settings()
    except InvalidSetting as error:
        sys.exit(error.message)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    Server(settings).run()


if __name__ == "__main__":
    main()
