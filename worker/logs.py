"""Log lines for people or, as JSON, for programs, and what a line is about: request, job, tenant.

What is known is bound to the thread or request that works, not passed from call to call, and stands
on every line written meanwhile, also on those of libraries. A new thread knows nothing of what its
maker knew; `carried` takes it along.
"""

from __future__ import annotations

import contextvars
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Literal

LogFormat = Literal["text", "json"]
TEXT = "%(asctime)s %(name)s %(levelname)s %(message)s"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_ABOUT = contextvars.ContextVar("about", default=_NOTHING)


def set_up_logging(log_format: str, process: str) -> None:
    """Write what is logged from now on to standard error; ``process`` says which part this is."""
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(JsonLines(process))
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread
    else:
        handler.setFormatter(logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


_FURTHER: list[Callable[[], Mapping[str, str]]] = []


def also_tell(tell: Callable[[], Mapping[str, str]]) -> None:
    """Have every line say this too; `worker.tracing` does, which not every process loads."""
    _FURTHER[:] = [tell]


class JsonLines(logging.Formatter):
    """Each record as one line of JSON; what is known of it beside the message."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        values: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **_ABOUT.get(),
            **getattr(record, "about", {}),
        }
        for tell in _FURTHER:
            values |= tell()
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            values["stack"] = record.stack_info
        return json.dumps(values, ensure_ascii=False, default=str)


def timestamp(seconds: float) -> str:
    """A time since 1970 as logs say it: RFC 3339, UTC, milliseconds."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def about() -> Mapping[str, str]:
    """What the lines of now are about."""
    return _ABOUT.get()


def begin(**values: str | None) -> None:
    """From here on lines are about this alone, until the next `begin` of the same thread."""
    _ABOUT.set(_known(values))


def add(**values: str | None) -> None:
    """From here on lines are about this too."""
    _ABOUT.set({**_ABOUT.get(), **_known(values)})


@contextmanager
def bound(**values: str | None) -> Iterator[None]:
    """Within the block lines are about this too."""
    token = _ABOUT.set({**_ABOUT.get(), **_known(values)})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def carried(target: Callable[[], object]) -> Callable[[], object]:
    """A thread's target whose lines are about what those of now are."""
    context = contextvars.copy_context()
    return lambda: context.run(target)


def _known(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("textgen").critical("uncaught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = "a thread" if arguments.thread is None else arguments.thread.name
        logging.getLogger("textgen").critical("uncaught in %s", name, exc_info=error)
