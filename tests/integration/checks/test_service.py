"""What is wrong in a service is found and mended, and nothing else is touched; the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.integration.checks.unsound import (
    everything,
    file,
    kinds,
    remove,
)
from tests.integration.conftest import store
from tests.stack import ROOT
from worker.backend import Backend
from worker.jobs.rows import Job
from worker.operations.check import Checked, ServiceCheck
from worker.stack.embedded_redis import HOST


def test_a_sound_service_is_left_alone(
    backend: Backend, broker: redis.Redis, service: ServiceCheck, sound: Job
) -> None:
    before = everything(backend, broker)

    assert service.look() == Checked([], [], [], ())
    assert service.mend() == Checked((), [], [], ())

    assert everything(backend, broker) == before


def test_looking_changes_nothing(
    backend: Backend, broker: redis.Redis, service: ServiceCheck, sound: Job
) -> None:
    store(backend, "files/orphan")
    remove(backend, "files/file-1")
    before = everything(backend, broker)

    done = service.look()

    assert kinds(done.found) == kinds(done.left)
    assert kinds(done.found) == [
        ("missing_artifact", "file-1"),
        ("orphan_artifact", "files/orphan"),
    ]
    assert everything(backend, broker) == before


class TestCommand:
    @pytest.fixture
    def command(
        self, backend: Backend, redis_server: dict[str, Any]
    ) -> Callable[..., subprocess.CompletedProcess[str]]:
        place = f"{HOST}:{redis_server['port']}/0"
        own = {
            "TEXTGEN_HOME": str(backend.settings.home),
            "TEXTGEN_DATABASE_URL": backend.database.url,
            "TEXTGEN_BROKER_URL": f"redis://:{redis_server['password']}@{place}",
        }

        def invoke(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "web.cli", "admin", "check", *words],
                cwd=ROOT, env={**os.environ, **own, **more}, capture_output=True, text=True,
                timeout=120, check=False,
            )  # fmt: skip

        return invoke

    @pytest.mark.usefixtures("broker", "sound")
    def test_its_exit_status_and_table(
        self, backend: Backend, command: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        clean = command()
        assert (clean.returncode, clean.stdout) == (0, "Nothing is wrong.\n")
        store(backend, "files/orphan")

        assert command().returncode == 0  # too young
        chinese = command("--min-age", "0", TEXTGEN_LANGUAGE="zh").stdout
        assert "无主的数据件" in chinese
        assert "没有数据行指向它" in chinese
        found = command("--min-age", "0")
        assert found.returncode == 1
        assert "orphan_artifact" in found.stdout
        assert "files/orphan" in found.stdout
        assert "--mend" in found.stderr

        done = command("--min-age", "0", "--mend")
        assert done.returncode == 0
        assert "Mended: 1 × orphan artifact" in done.stdout
        assert command("--min-age", "0").returncode == 0

    @pytest.mark.usefixtures("broker")
    def test_for_programs(
        self, backend: Backend, command: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        for name in ("file-1", "file-2"):
            file(backend, name)
        remove(backend, "files/file-1")

        found = command("--json")
        assert found.returncode == 1
        told = json.loads(found.stdout)
        assert told["clean"] is False
        assert [each["id"] for each in told["left"]] == ["file-1"]
        assert told["found"] == told["left"]

        told = json.loads(command("--json", "--mend").stdout)
        assert told["clean"] is True
        assert [each["what"] for each in told["mended"]] == ["missing_artifact"]

    def test_tables_of_another_version_are_refused(
        self, backend: Backend, command: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        backend.database.downgrade("0008")

        refused = command()

        assert (refused.returncode, refused.stdout) == (1, "")
        assert "textgen db upgrade" in refused.stderr
