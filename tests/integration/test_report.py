"""A report says what a service is like, and nothing that is secret or its users'."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

import worker
from tests.integration.conftest import run
from tests.stack import ROOT
from worker.backend import Backend
from worker.contracts import BundleReference
from worker.errors import NotFound
from worker.migrations.revisions import known_revisions
from worker.operations.reports.logs import reduce_lines
from worker.operations.reports.report import write_report
from worker.operations.reports.settings import masked
from worker.processes.presence import Presence
from worker.settings import Settings
from worker.stack.embedded_redis import HOST, prepare_redis, running_redis, with_running_redis
from worker.storage.keys import Keys
from worker.storage.models import NewModel, add_model
from worker.storage.text_states import TextStates
from worker.storage.uploads import Uploads
from worker.tenants.options import NewTenant
from worker.tenants.tenants import Tenants
from worker.webhooks.tables import webhook_deliveries, webhook_endpoints

OWNER = "default"
PLANT = "xyzzy"  # stands in everything that must not come out
LOGGER = f"{PLANT}.logger"
HEAD = "%(asctime)s %(name)s %(levelname)s %(message)s"


def plant(name: str) -> str:
    return f"{PLANT}-{name}"


@pytest.fixture(scope="module")
def redis_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home on which a stack's Redis runs."""
    home = tmp_path_factory.mktemp("home")
    server = prepare_redis(home / "redis")
    process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not server.answers():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.02)
    yield home
    process.kill()
    process.wait()


@pytest.fixture
def redis_server(redis_home: Path) -> tuple[int, str]:
    found = running_redis(redis_home / "redis")
    assert found is not None
    return found.port, found.password


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What processes have logged, as `textgen up` prints it, users' words wherever they can be."""
    path = tmp_path / "raw.log"
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(HEAD))
    known = logging.getLogger("worker.processes.reconciler")
    for logger in (known, logging.getLogger("textgen.web"), logging.getLogger(LOGGER)):
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    job = "ftjob-" + "0" * 26
    known.warning("%s: worker %s is lost; now %s", job, plant("host"), "queued")
    known.warning("%s: its deadline has passed", plant("job"))
    known.info("a text of our own format? no: %s", plant("message"))
    logging.getLogger(LOGGER).error("%s", plant("text"))
    secret = plant("folder")
    try:
        try:
            worker_file = Path(worker.__file__).parent / "jobs" / "moves.py"
            code = compile(
                "\n" * 41 + f"raise ValueError({plant('cause')!r})", str(worker_file), "exec"
            )
            exec(code, {})  # noqa: S102  (a frame within our package)
        except ValueError as error:
            raise NotFound(plant("file.txt") + "\n" + plant("line")) from error
    except NotFound:
        known.exception("a pass of the reconciler failed; the next one tries again")
    lookalike = tmp_path / secret / "worker" / "jobs"
    lookalike.mkdir(parents=True)
    (lookalike / "moves.py").write_text(f"raise KeyError({plant('other')!r})\n")
    try:
        exec(compile((lookalike / "moves.py").read_text(), str(lookalike / "moves.py"), "exec"), {})  # noqa: S102
    except KeyError:
        logging.getLogger("textgen.web").exception("%s %s failed (%s)", "GET", plant("path"), "x")
    for logger in (known, logging.getLogger("textgen.web"), logging.getLogger(LOGGER)):
        logger.removeHandler(handler)
    handler.close()
    lines = path.read_text().splitlines()
    lines += [f"print of {plant('prompt')}", f"Traceback of {plant('prompt')}: {plant('x')}Error"]
    shown = tmp_path / "textgen.log"
    shown.write_text("".join(f"\x1b[33mreconcile |\x1b[0m {line}\n" for line in lines))
    return shown


@pytest.fixture
def planted(backend: Backend, redis_server: tuple[int, str], tmp_path: Path) -> Backend:
    """A service with a plant in everything that users or operators write."""
    settings = backend.settings.with_broker(HOST, *redis_server).model_copy(
        update={
            "api_key": Settings(api_key=plant("key")).api_key,
            "admin_key": Settings(admin_key=plant("admin-key")).admin_key,
            "storage_url": f"s3://{plant('bucket')}/prefix",
            "public_url": f"https://{plant('host')}.example",
            "cors_origins": f"https://{plant('cors')}.example",
            "webhook_allow": f"{plant('network')}.example",
            "plans_file": tmp_path / plant("plans.toml"),
            "bind": plant("address"),
        }
    )
    (settings.home / "credentials").write_text(plant("credentials") + "\n")
    database = backend.database
    tenant = Tenants(database).create(NewTenant(id=plant("tenant"), name=plant("tenant-name")))
    Keys(database).create(OWNER, plant("key-name"), ["read"])
    Uploads(database, backend.store).create(
        OWNER, filename=plant("upload"), mime_type=plant("mime"), purpose="batch", bytes=4
    )
    with backend.store.create("files/1") as staging:
        with staging.open("content") as stream:
            stream.write(plant("corpus").encode())
        staging.commit()
    backend.files.create(
        OWNER, filename=plant("file"), purpose="batch", artifact="files/1", file="content"
    )
    for number in range(3):
        backend.jobs.submit(
            tenant.id if number == 2 else OWNER,
            "training",
            {"model": plant("model"), "suffix": plant("suffix")},
            metadata={plant("meta"): plant("data")},
        )
    for code in ("corpus_too_small", plant("code")):
        job = run(backend.jobs, plant("machine"))
        backend.jobs.add_event(job, type="sample", message=plant("event"), data={"text": PLANT})
        backend.jobs.set_progress(job, {"doing": plant("doing")})
        lines = [{"code": "invalid_json_line", "message": plant("line-message"), "line": 3}]
        backend.jobs.fail(
            job, {"code": code, "message": plant("error"), "param": PLANT, "errors": lines}
        )
    Presence(database, settings).register(plant("machine"), plant("life"), "train", {"training": 2})
    with database.write() as connection:
        add_model(connection, OWNER, NewModel(plant("ft"), PLANT, PLANT, PLANT), 1.0)
        connection.execute(
            sa.insert(webhook_endpoints).values(
                id="wh", tenant=OWNER, name=plant("hook"), url=f"https://{plant('url')}.example",
                event_types=[], secret=plant("whsec"), created_at=1.0, updated_at=1.0,
            )
        )  # fmt: skip
        connection.execute(
            sa.insert(webhook_deliveries).values(
                id="d", tenant=OWNER, endpoint_id="wh", event_id="e", event_type="x",
                body=plant("body"), state="pending", attempts=1, due_at=1.0, held_until=0.0,
                last_status=503, last_error=plant("answer"), created_at=1.0,
            )
        )  # fmt: skip
    backend.models.set_alias(OWNER, plant("alias"), plant("ft"))
    broker = connection_to(redis_server)
    broker.flushall()
    states = TextStates(broker, seconds=60, bound=10**6)
    bundle = BundleReference(artifact=PLANT, file=PLANT)
    states.add(OWNER, plant("ft"), bundle, json.dumps({"tokens": 3, "text": plant("state")}))
    broker.lpush("training", plant("queued"))
    return replace(backend, settings=settings)


def connection_to(server: tuple[int, str]) -> redis.Redis:
    return redis.Redis(HOST, server[0], password=server[1], decode_responses=True)


def parts_of(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_what_is_in_it_and_what_is_not(
    planted: Backend, redis_server: tuple[int, str], log: Path, tmp_path: Path
) -> None:
    target = tmp_path / "report.zip"

    made = write_report(planted, connection_to(redis_server), target, [log])

    parts = parts_of(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    told = "\n".join([*parts, *parts.values()])
    assert PLANT not in told.lower()
    assert str(tmp_path) not in told
    assert redis_server[1] not in told
    assert made.missing == {}
    assert set(made.parts) == set(parts)

    found: dict[str, Any] = {
        name: json.loads(text) for name, text in parts.items() if name.endswith(".json")
    }
    assert found["versions.json"]["packages"]["sqlalchemy"] == sa.__version__
    assert found["versions.json"]["redis"].count(".") == 2
    assert ("postgresql" in found["versions.json"]) is not planted.database.is_sqlite
    assert found["migrations.json"] == {
        "revision": known_revisions()[-1],
        "newest": known_revisions()[-1],
    }
    settings = found["settings.json"]
    assert settings["lease_seconds"] == planted.settings.lease_seconds
    assert (settings["broker_url"], settings["storage_url"]) == ("redis://…", "s3://…")
    assert (settings["api_key"], settings["admin_key_file"]) == ("set", "not set")
    assert set(settings) == set(Settings.model_fields)
    health = found["health.json"]
    assert health["parts"] == {"database": "ok", "broker": "ok", "storage": "ok"}
    (worker_row,) = health["workers"]
    assert (worker_row["role"], worker_row["queue"], worker_row["slots"]) == (
        "train",
        "training",
        2,
    )
    queues = found["queues.json"]
    assert {"queue": "training", "state": "queued", "count": 1} in queues["jobs"]
    assert queues["messages"]["training"] == 1
    assert queues["webhook_deliveries"]["pending"] == 1
    assert queues["uploads_pending"] == 1
    assert found["counts.json"]["rows"]["jobs"] == 3
    assert {(each["code"], each["count"]) for each in found["errors.json"]["jobs"]} == {
        ("corpus_too_small", 1),
        ("other", 1),
        ("invalid_json_line", 2),
    }
    assert found["errors.json"]["webhook_deliveries"] == [
        {"state": "pending", "last_status": 503, "count": 1}
    ]

    lines = parts["log-1.txt"].splitlines()
    job = "ftjob-" + "0" * 26
    assert lines[0].endswith(
        f"worker.processes.reconciler WARNING {job}: worker … is lost; now queued"
    )
    assert lines[1].endswith("WARNING …: its deadline has passed")
    assert lines[2].endswith("worker.processes.reconciler INFO …")
    assert lines[3].endswith("other ERROR …")
    text = "\n".join(line.removeprefix("reconcile | ") for line in lines)
    assert "a pass of the reconciler failed; the next one tries again" in text
    assert (
        "Traceback\n  … 1 frames of other packages\n  worker/jobs/moves.py:42 in <module>\n" in text
    )
    assert "  ValueError\n" in text
    assert "  NotFound\n" in text
    assert "  … 2 frames of other packages\n  KeyError" in text  # the look-alike is none of ours


def test_the_command(
    planted: Backend, redis_server: tuple[int, str], log: Path, tmp_path: Path
) -> None:
    port, password = redis_server
    own = {
        "TEXTGEN_HOME": str(planted.settings.home),
        "TEXTGEN_DATABASE_URL": planted.database.url,
        "TEXTGEN_BROKER_URL": f"redis://:{password}@{HOST}:{port}/0",
        "TEXTGEN_ADMIN_KEY": plant("admin-key"),
        "PYTHONPATH": str(ROOT),
    }

    def report(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "web.cli", "admin", "report", *words],
            cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    done = report("--json", "--log", str(log))

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    parts = parts_of(tmp_path / told["path"])
    assert "log-1.txt" in parts
    assert PLANT not in "\n".join([*parts, *parts.values()])
    assert report("--output", told["path"]).returncode == 1  # it overwrites nothing


def test_a_service_that_is_broken_is_reported_too(planted: Backend, tmp_path: Path) -> None:
    with planted.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE jobs RENAME TO gone"))
    away = redis.Redis(HOST, 1, decode_responses=True)
    target = tmp_path / "report.zip"

    made = write_report(planted, away, target, [tmp_path / plant("no-such-log")])

    parts = parts_of(target)
    assert PLANT not in "\n".join([*parts, *parts.values()])
    assert {"queues.json", "counts.json", "errors.json", "log-1.txt"} <= set(made.missing)
    assert json.loads(parts["health.json"])["parts"]["broker"] == "ConnectionError"
    assert json.loads(parts["report.json"])["missing"] == made.missing


def test_a_part_with_a_known_secret_is_left_out(planted: Backend, tmp_path: Path) -> None:
    """Whatever was overlooked: the last look is at the archive itself."""
    secret = Settings(api_key="int8-and-more").api_key
    settings = planted.settings.model_copy(
        update={"api_key": secret, "generation_weights": "int8-and-more"}
    )
    target = tmp_path / "report.zip"

    made = write_report(replace(planted, settings=settings), None, target)

    assert made.missing == {"settings.json": "it held a secret"}
    assert "int8-and-more" not in "\n".join(parts_of(target).values())


def test_every_text_setting_is_masked_but_those_with_few_values() -> None:
    settings = Settings(home=Path("/secret/place"), base_url="https://secret.example")

    shown = {
        name: value
        for name, value in masked(settings).items()
        if isinstance(value, str) and value not in ("set", "not set")
    }

    assert shown == {
        "base_url": "https://…",
        "device": "auto",
        "log_format": "text",
        "generation_weights": "float32",
    }


class TestLogs:
    def test_lines_of_several_processes_stand_mixed(self) -> None:
        time_ = "2026-11-30 09:00:00,000"
        lines = [
            f"web       | {time_} textgen.web ERROR x",
            "web       | Traceback (most recent call last):",
            f"train     | {time_} worker.processes.runner INFO secret",
            'web       |   File "/elsewhere/secret.py", line 3, in secret',
            "web       |     secret()",
            "web       | KeyError: 'secret'",
            "train     | secret",
        ]

        found = list(reduce_lines(lines))

        assert not [line for line in found if "secret" in line]
        assert found == [
            f"web | {time_} textgen.web ERROR …",
            f"train | {time_} worker.processes.runner INFO …",
            "web | Traceback",
            "web |   … 1 frames of other packages",
            "web |   KeyError",
            "(1 lines of other kinds)",
        ]

    def test_errors_are_named_where_they_are_of_a_package(self) -> None:
        def kind(last: str) -> str:
            return list(reduce_lines(["Traceback (most recent call last):", last]))[-1].strip()

        assert kind("sqlalchemy.exc.OperationalError: (secret) [SQL: secret]") == (
            "sqlalchemy.exc.OperationalError"
        )
        assert kind("worker.errors.LeaseLost: secret") == "LeaseLost"
        assert kind("TimeoutError") == "TimeoutError"
        assert kind("secret: more") == "an error"
        assert kind("secret.module.Secret: more") == "an error"

    def test_a_hostile_line_takes_no_time(self) -> None:
        line = "2026-11-30 09:00:00,000 worker.tasks INFO " + "(: " * 700
        began = time.monotonic()

        list(reduce_lines([line] * 200))

        assert time.monotonic() - began < 5


def test_the_redis_of_a_stack_is_found(redis_home: Path, redis_server: tuple[int, str]) -> None:
    port, password = redis_server

    found = with_running_redis(Settings(home=redis_home)).broker_url

    assert found == f"redis://:{password}@{HOST}:{port}/0"
    assert with_running_redis(Settings(home=redis_home / "other")).broker_url == ""
    own = Settings(home=redis_home, broker_url="redis://elsewhere:1/0")
    assert with_running_redis(own) == own
