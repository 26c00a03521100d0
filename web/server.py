"""Runs the web process: gunicorn, one worker process, a thread for each open request.

The reasons are in docs/decisions/web-server.md. ``python -m web.server`` starts it with the
settings of the environment; SIGTERM lets open requests finish first. SIGHUP replaces the process
that answers by a new one, and no request fails by it, as long as the sources are the same: a new
version's may not fit the modules that this parent has loaded (docs/requests.md).
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import Future
from types import FrameType
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn, ThreadWorker

from textgen.errors import TextgenError
from web.patience import PatientSocket
from worker.errors import InvalidSetting
from worker.logs import set_up_logging
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from flask import Flask

KEEPALIVE_SECONDS = 75  # longer than the pause between two polls of a waiting client
GRACEFUL_SECONDS = 60
SPARE_CONNECTIONS = 2000  # kept alive without holding a thread


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, which also tells streams without an end that it stops.

    A connection whose socket has no descriptor any more went to `web.live.hub`.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM: no new connections, event streams end, everything else finishes."""
        if self.app.callable is not None:
            self.app.callable.extensions["textgen"].stopping.set()
        super().handle_exit(sig, frame)

    def handle(self, conn: TConn) -> Any:
        """Serve a connection whose client has bounded time to send."""
        if conn.parser is None:
            seconds = self.app.settings.request_seconds
            conn.parser = get_parser(self.cfg, PatientSocket(conn.sock, seconds), conn.client)
        conn.parser.unreader.sock.begin("head")
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer a request whose head is there."""
        conn.parser.unreader.sock.begin("body")
        return super().handle_request(req, conn)

    def run(self) -> None:
        """Serve until the end, then wait for the streams to have theirs."""
        super().run()
        services = self.app.callable.extensions["textgen"]
        services.stopping.set()
        services.hub.join()

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Let go of a connection that went elsewhere, without closing it."""
        if conn.sock.fileno() == -1:
            self.nr_conns -= 1
        else:
            super().finish_request(conn, fs)


class GunicornLogger(Logger):  # type: ignore[misc]
    """gunicorn's lines among ours, in the same form."""

    def setup(self, cfg: Any) -> None:
        """Leave it to the root logger where and how they are written."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


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
            "logger_class": GunicornLogger,
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
        from worker.tracing import set_up_tracing

        try:
            set_up_tracing(self.settings, "web")  # after the fork: it has a thread that sends
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
    set_up_logging(settings.log_format, "web")
    # A line for each request is for programs: people have the lines that matter.
    access = logging.INFO if settings.log_format == "json" else logging.WARNING
    logging.getLogger("textgen.access").setLevel(access)
    Server(settings).run()


if __name__ == "__main__":
    main()
