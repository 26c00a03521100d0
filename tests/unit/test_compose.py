"""The container files against the code: every name in them must exist."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from web.cli.app import textgen
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("textgen")]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text().splitlines()
    if "=" in line and not line.startswith("#")
)


def variables() -> set[str]:
    """Names of the environment variables that Settings reads."""
    return {
        "PORT" if name == "port" else f"TEXTGEN_{name.upper()}" for name in Settings.model_fields
    }


def test_every_part_of_the_service_is_there() -> None:
    assert set(SERVICES) == {
        "web", "reconciler", "trainer", "generator", "trainer-gpu", "generator-gpu",
        "migrate", "redis", "postgres",
    }  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name: str) -> None:
    assert set(SERVICES[name]["environment"]) <= variables()


def test_the_images_variables_are_settings() -> None:
    assert set(re.findall(r"TEXTGEN_[A-Z_]+", DOCKERFILE)) <= variables()


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    program, *words = SERVICES[name]["command"]
    if program == "python":
        assert words == ["-m", "web.server"]
        assert (ROOT / "web" / "server.py").is_file()
        return
    assert program == "textgen"
    command: click.Command | None = textgen
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
        assert command is not None, words


def test_the_port_is_the_one_that_web_listens_on() -> None:
    web = SERVICES["web"]
    (published,) = web["ports"]

    assert published.startswith("127.0.0.1:")
    assert published.endswith(f":{web['environment']['PORT']}")
    assert f":{web['environment']['PORT']}/readyz" in web["healthcheck"]["test"][-1]
    assert f"EXPOSE {web['environment']['PORT']}" in DOCKERFILE


@pytest.mark.parametrize("name", SERVICES)
def test_containers_may_do_no_more_than_they_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] not in ("", "0", "root")


@pytest.mark.parametrize("name", ["web", "redis", "postgres"])
def test_health_is_looked_at(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", [name for name in OURS if name != "migrate"])
def test_nothing_starts_on_old_tables(name: str) -> None:
    assert SERVICES[name]["depends_on"]["migrate"] == {
        "condition": "service_completed_successfully"
    }


@pytest.mark.parametrize("name", [name for name in OURS if "worker" in SERVICES[name]["command"]])
def test_workers_get_the_time_to_drain(name: str) -> None:
    grace = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["drain_seconds"].default


def test_redis_keeps_and_evicts_as_the_service_expects(tmp_path: Path) -> None:
    """Its script is run, with another redis-server that only tells what it was given."""
    redis = SERVICES["redis"]
    shell, option, script = redis["command"]
    server, config = tmp_path / "redis-server", tmp_path / "redis.conf"
    server.write_text('#!/bin/sh\necho "$#"; ls -l "$1"; cat "$1"\n')
    server.chmod(0o755)

    told = subprocess.run(
        [shell, option, script.replace("$$", "$").replace("/tmp/redis.conf", str(config))],  # noqa: S108  in the container
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDISCLI_AUTH": "a-secret"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert told[0] == "1"  # its settings alone: a password would be seen by whoever lists processes
    assert told[1].startswith("-rw-------")
    assert set(told[2:]) == {
        "requirepass a-secret", "appendonly yes", "appendfsync everysec", 'save ""',
        "maxmemory-policy noeviction", "dir /data",
    }  # fmt: skip
    assert "/tmp" in redis["tmpfs"]  # noqa: S108
    assert redis["environment"]["REDISCLI_AUTH"].startswith("${REDIS_PASSWORD:?")
    assert SERVICES["redis"]["image"].startswith("redis:8")
    assert SERVICES["postgres"]["image"].startswith("postgres:17")


@pytest.mark.parametrize("name", SERVICES)
def test_no_read_only_container_wants_an_inline_config(name: str) -> None:
    """Compose refuses to start it: it could not write the file."""
    service = SERVICES[name]
    for kind in ("configs", "secrets"):
        for given in service.get(kind, []):
            source = given if isinstance(given, str) else given["source"]
            assert "file" in COMPOSE[kind][source] or not service["read_only"]


def test_postgresql_is_asked_where_the_service_asks_it() -> None:
    """While it makes its tables at first, the image's server listens on its socket alone."""
    test = SERVICES["postgres"]["healthcheck"]["test"]
    assert test[:4] == ["CMD", "pg_isready", "-h", "127.0.0.1"]


def test_gpu_workers_differ_from_the_others_by_the_gpu_alone() -> None:
    for name in ("trainer", "generator"):
        plain, gpu = SERVICES[name], SERVICES[f"{name}-gpu"]
        assert plain["command"] == gpu["command"]
        assert (plain["profiles"], gpu["profiles"]) == (["cpu"], ["gpu"])
        assert gpu["environment"]["TEXTGEN_DEVICE"] == "cuda"
        (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def test_every_variable_of_the_compose_file_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert used <= set(EXAMPLE)
    assert EXAMPLE["COMPOSE_PROFILES"] in ("cpu", "gpu")


def test_the_image_is_made_of_files_that_the_builder_sees() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert source in allowed
            assert (ROOT / source).exists(), source


def test_image_and_makefile_install_the_same_torch() -> None:
    image = re.search(r"^ARG TORCH=(\S+)$", DOCKERFILE, re.MULTILINE)
    makefile = re.search(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert image is not None
    assert makefile is not None
    assert image[1] == makefile[1]
