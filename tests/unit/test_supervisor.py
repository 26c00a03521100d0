"""The supervisor with real, tiny programs."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from worker.stack.home_lock import AlreadyRunning, HomeLock, write_stack
from worker.stack.ledger import Entry, entry_of, read_ledger, sweep, write_ledger
from worker.stack.process_output import Lines, Log
from worker.stack.supervisor import Backoff, Program, Supervisor

QUICK = Backoff(first=0.05, last=0.2, good_run=60)
SLEEPER = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); " + SLEEPER
PARENT = (
    "import subprocess, sys, time\n"
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])\n"
    "print('child', child.pid, flush=True)\n"
    "time.sleep(600)"
)


def program(name: str, source: str) -> Program:
    return Program(name, (sys.executable, "-c", source), dict(os.environ))


class Stage:
    """A supervisor and what it has logged."""

    def __init__(self, folder: Path) -> None:
        self.text = io.StringIO()
        self.ledger = folder / "children.json"
        self.supervisor = Supervisor(self.ledger, Log(self.text, ["one", "two"]), backoff=QUICK)

    def until(self, what: Callable[[], bool], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, self.text.getvalue()
            self.supervisor.turn(0.02)

    def logged(self, line: str, times: int = 1) -> Callable[[], bool]:
        return lambda: self.text.getvalue().count(line) >= times

    def pid(self, name: str) -> int:
        process = self.supervisor.children[name].process
        assert process is not None
        return process.pid


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    with stage.supervisor:
        yield stage


def gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def test_logs_each_line_behind_its_programs_name(stage: Stage) -> None:
    stage.supervisor.start(program("one", "print('first'); print('last', end='')"))

    stage.until(stage.logged("ended (exit code 0)"))

    lines = stage.text.getvalue().splitlines()
    assert lines[:2] == ["one | first", "one | last"]
    assert "starts again in 0.05 s" in lines[2]


def test_restarts_what_dies_and_waits_longer_each_time(stage: Stage) -> None:
    stage.supervisor.start(program("one", "import sys; sys.exit(3)"))

    stage.until(stage.logged("ended (exit code 3); starts again in 0.2 s", 2))

    text = stage.text.getvalue()
    assert text.index("in 0.05 s") < text.index("in 0.1 s") < text.index("in 0.2 s")


def test_restarts_what_is_killed_with_its_children(stage: Stage) -> None:
    stage.supervisor.start(program("one", PARENT))
    stage.until(stage.logged("child "))
    grandchild = int(stage.text.getvalue().split("child ")[1].split()[0])
    first = stage.pid("one")

    os.kill(first, signal.SIGKILL)
    stage.until(stage.logged("child ", 2))

    assert "ended (signal 9)" in stage.text.getvalue()
    assert stage.pid("one") != first
    assert gone(grandchild)


def test_a_program_that_is_not_there_is_said_and_tried_again(stage: Stage) -> None:
    stage.supervisor.start(Program("one", ("/nonexistent/program",), {}))

    stage.until(lambda: stage.supervisor.children["one"].failures >= 2)

    assert "cannot be started" in stage.text.getvalue()


def test_drain_ends_all_and_restarts_none(stage: Stage) -> None:
    for name in ("one", "two"):
        stage.supervisor.start(program(name, SLEEPER))
    stage.until(stage.logged("ready", 2))

    killed = stage.supervisor.drain(["one", "two"], seconds=10)
    for _ in range(5):
        stage.supervisor.turn(0.05)

    assert killed == []
    assert not any(child.running for child in stage.supervisor.children.values())
    assert read_ledger(stage.ledger) == []


def test_drain_kills_what_does_not_listen(stage: Stage) -> None:
    stage.supervisor.start(program("one", STUBBORN))
    stage.until(stage.logged("ready"))
    pid = stage.pid("one")

    assert stage.supervisor.drain(["one"], seconds=0.3) == ["one"]
    assert gone(pid)


def test_a_hurry_cuts_the_drain_short(stage: Stage) -> None:
    stage.supervisor.start(program("one", STUBBORN))
    stage.until(stage.logged("ready"))

    began = time.monotonic()
    stage.supervisor.drain(["one"], seconds=60, hurry=lambda: True)

    assert time.monotonic() - began < 5


class Unwritable(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_drain_is_whole_although_neither_lines_nor_ledger_can_be_written(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"
    worker = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    print('keeps what it has', flush=True)\n"
        f"    time.sleep(0.3); pathlib.Path({str(kept)!r}).touch(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(600)"
    )
    ledger = tmp_path / "children.json"
    with Supervisor(ledger, Log(Unwritable(), ["one"])) as supervisor:
        supervisor.start(program("one", worker))
        while not (tmp_path / "ready").exists():
            supervisor.turn(0.02)
        ledger.with_suffix(".new").mkdir()  # no file can be written there

        assert supervisor.drain(["one"], seconds=20) == []

        assert kept.exists()
        assert [entry.name for entry in read_ledger(ledger)] == ["one"]
        ledger.with_suffix(".new").rmdir()
        supervisor.turn(0.01)
        assert read_ledger(ledger) == []  # caught up with


def test_the_warden_is_replaced_when_it_dies(stage: Stage) -> None:
    def wardens() -> list[psutil.Process]:
        alive = [each for each in psutil.Process().children() if each.status() != "zombie"]
        return [each for each in alive if "worker.stack.warden" in each.cmdline()]

    (first,) = wardens()

    first.kill()
    stage.until(lambda: [each.pid for each in wardens()] not in ([], [first.pid]))


SUPERVISED = """
import os, sys
from pathlib import Path
from worker.stack.home_lock import HomeLock
from worker.stack.process_output import Log
from worker.stack.supervisor import Program, Supervisor
home = Path(sys.argv[1])
with HomeLock(home) as lock:
    log = Log(sys.stdout, ["one"])
    with Supervisor(home / "children.json", log, inherited=(lock.descriptor,)) as supervisor:
        supervisor.start(Program("one", (sys.executable, "-c", sys.argv[2]), dict(os.environ)))
        while True:
            supervisor.turn()
"""


def test_nothing_outlives_a_killed_supervisor_and_its_lock_is_free_again(tmp_path: Path) -> None:
    # Given a supervisor in a process of its own, whose child has a child
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISED, str(tmp_path), PARENT],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout is not None
    grandchild = int(supervisor.stdout.readline().split("child ")[1])
    (child,) = read_ledger(tmp_path / "children.json")

    # When it is killed outright
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()

    # Then the next start gets the lock, and what it left is gone
    with HomeLock(tmp_path):
        assert gone(child.pid, 0.1)
        assert gone(grandchild, 0.1)


def test_what_a_killed_warden_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    ledger = tmp_path / "children.json"
    left = subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=True)
    write_ledger(ledger, [Entry("one", left.pid, psutil.Process(left.pid).create_time())])

    assert [entry.name for entry in sweep(ledger)] == ["one"]
    left.wait(5)
    assert gone(left.pid, 0)
    assert read_ledger(ledger) == []


def test_a_stranger_under_a_remembered_number_is_left_alone(tmp_path: Path) -> None:
    ledger = tmp_path / "children.json"
    stranger = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    try:
        write_ledger(ledger, [Entry("one", stranger.pid, time.time() - 3600)])
        assert sweep(ledger) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.fixture
def left() -> Iterator[tuple[subprocess.Popen[bytes], Entry]]:
    """A process that a stack has left, and how it stands in the ledger."""
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    entry = entry_of("one", process.pid)
    if not entry.identity:
        pytest.skip("this system tells no start of a process but by the clock")
    try:
        yield process, entry
    finally:
        process.kill()
        process.wait()


def test_what_is_left_is_known_after_the_clock_was_set(
    tmp_path: Path, left: tuple[subprocess.Popen[bytes], Entry]
) -> None:
    process, entry = left
    ledger = tmp_path / "children.json"
    write_ledger(ledger, [replace(entry, started=entry.started - 3600)])

    assert [each.name for each in sweep(ledger)] == ["one"]
    process.wait(5)


def test_another_that_started_at_the_same_time_is_a_stranger(
    tmp_path: Path, left: tuple[subprocess.Popen[bytes], Entry]
) -> None:
    process, entry = left
    boot, tick = entry.identity.split()
    ledger = tmp_path / "children.json"
    for other in (f"{boot} {int(tick) + 1}", f"another-boot {tick}"):
        write_ledger(ledger, [replace(entry, identity=other)])
        assert sweep(ledger) == []
    assert process.poll() is None


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '[{"name": "x"}]'])
def test_a_damaged_ledger_is_an_empty_one(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "children.json"
    path.write_text(damaged)
    assert read_ledger(path) == []


def test_a_second_stack_on_a_home_is_refused_with_url_and_process(tmp_path: Path) -> None:
    with HomeLock(tmp_path):
        write_stack(tmp_path, {"base_url": "http://127.0.0.1:8123", "pid": os.getpid()})
        with pytest.raises(AlreadyRunning, match=rf"http://127.0.0.1:8123 .process {os.getpid()}"):
            HomeLock(tmp_path).__enter__()


def test_the_lock_waits_for_the_warden_of_a_dead_stack(tmp_path: Path) -> None:
    # Given a lock held by someone, and a stack file whose process is gone
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_stack(tmp_path, {"base_url": "http://127.0.0.1:1", "pid": ended.pid})
    holder = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    release = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(0.4)"], pass_fds=(holder,)
    )
    os.close(holder)

    # When a new stack starts, then it waits and gets the lock
    with HomeLock(tmp_path):
        assert release.wait(5) == 0


def test_lines_come_whole_however_they_were_cut() -> None:
    lines = Lines()
    assert lines.push(b"Gr\xc3") == []
    assert lines.push(b"\xbc\xc3\x9fe\r\nund") == ["Grüße"]
    assert lines.finish() == ["und"]
    assert lines.finish() == []


def test_a_line_without_end_is_broken_up() -> None:
    assert len(Lines().push(b"x" * 70_000)) == 1


def test_json_lines_pass_as_they_are() -> None:
    stream = io.StringIO()
    Log(stream, ["one"], prefixed=False).write("one", '{"a": 1}')
    assert stream.getvalue() == '{"a": 1}\n'


def test_the_backoff_doubles_up_to_its_bound() -> None:
    backoff = Backoff(first=1, last=5)
    assert [backoff.delay(failures) for failures in (1, 2, 3, 4, 4000)] == [1, 2, 4, 5, 5]
