"""Log lines as JSON, and what they are about."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest

from worker import logs
from worker.logs import JsonLines
from worker.stack.process_output import Log

LOG = logging.getLogger("textgen.test")


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    """What was logged since, as a program reads it."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines("web"))
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_it_is_about(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logs.begin(request_id="req_1")
    logs.add(tenant="acme")
    with logs.bound(job_id="ftjob-1", request_id=None):
        LOG.info("%s: 语言", "ftjob-1")
    LOG.warning("after", extra={"about": {"status": 200}})
    logs.begin(request_id="req_2")
    LOG.error("another")

    first, second, third = lines()

    known = {"request_id": "req_1", "tenant": "acme"}
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info", "process": "web", "logger": "textgen.test", "message": "ftjob-1: 语言",
        **known, "job_id": "ftjob-1",
    }  # fmt: skip
    assert second["status"] == 200 and "job_id" not in second
    assert third["request_id"] == "req_2" and "tenant" not in third


def test_a_new_thread_knows_nothing_unless_it_is_taken_along(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    with logs.bound(job_id="ftjob-1"):
        targets = [lambda: LOG.info("alone"), logs.carried(lambda: LOG.info("carried"))]
        for target in targets:
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

    alone, carried = lines()
    assert "job_id" not in alone and carried["job_id"] == "ftjob-1"


def test_an_exception_stands_on_one_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        LOG.exception("failed")

    (line,) = lines()
    assert "ValueError: two\nlines" in line["exception"]


PROGRAM = """
import logging, threading, warnings
from worker.logs import set_up_logging
set_up_logging("json", "worker")
logging.getLogger("celery").info("of a library")
warnings.warn("careful")
def fail(): raise KeyError("in a thread")
thread = threading.Thread(target=fail); thread.start(); thread.join()
raise RuntimeError("at the end")
"""


def test_all_that_a_process_says_is_json() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)

    found = [json.loads(line) for line in run.stderr.splitlines()]
    assert [each["level"] for each in found] == ["info", "warning", "critical", "critical"]
    assert "careful" in found[1]["message"]
    assert "KeyError" in found[2]["exception"] and "RuntimeError" in found[3]["exception"]


def test_the_stack_makes_json_of_what_is_none() -> None:
    stream = StringIO()
    log = Log(stream, ["redis"], prefixed=False)
    log.write("web", '{"message": "x"}')
    log.write("redis", "ended (signal 9)")

    own, made = (json.loads(line) for line in stream.getvalue().splitlines())
    assert own == {"message": "x"}
    assert made["process"] == "redis" and made["message"] == "ended (signal 9)"
