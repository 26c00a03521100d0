"""The processes of an embedded stack: what each runs and its share of the cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from worker.settings import Settings
from worker.stack.embedded_redis import EmbeddedRedis
from worker.stack.supervisor import Program

REDIS = "redis"
WEB = "web"
RECONCILER = "reconciler"
TRAINER = "trainer"
GENERATOR = "generator"


@dataclass(frozen=True)
class Shares:
    """Threads of one training and of one generation worker."""

    training: int
    generation: int


def share_cores(cores: int, settings: Settings) -> Shares:
    """How trainings and generation workers use ``cores`` together.

    Trainings run at a low priority and may take every core, and so may generation, whose threads
    are not waited for where they get no core (docs/decisions/engine-kernels.md).
    """
    per_training = settings.threads if settings.threads else cores // max(1, settings.train_workers)
    per_generator = cores // max(1, settings.generate_workers)
    return Shares(max(1, per_training), max(1, per_generator))


def service_programs(settings: Settings, shares: Shares) -> list[Program]:
    """Everything but Redis, the slowest to start first; ``settings`` know the broker and port."""
    common = environment(settings)
    training = {**common, "TEXTGEN_THREADS": str(shares.training)}
    generation = {**common, "TEXTGEN_THREADS": str(shares.generation)}
    programs = [
        _python(name, _worker("generate"), generation) for name in generator_names(settings)
    ]
    if settings.train_workers > 0:
        programs.append(_python(TRAINER, _worker("train"), training))
    programs.append(_python(RECONCILER, _worker("reconcile"), common))
    programs.append(_python(WEB, ("-m", "web.server"), common))
    return programs


def redis_program(server: EmbeddedRedis) -> Program:
    """The embedded Redis; it needs nothing of our environment."""
    return Program(REDIS, server.command, {"PATH": os.defpath, "LC_ALL": "C"})


def generator_names(settings: Settings) -> list[str]:
    """One name for each generation worker."""
    count = settings.generate_workers
    return [GENERATOR] if count == 1 else [f"{GENERATOR}-{i}" for i in range(1, count + 1)]


def environment(settings: Settings) -> dict[str, str]:
    """What the children see: our own environment, and what this stack has settled on."""
    return {
        **os.environ,
        "TEXTGEN_HOME": str(settings.home),
        "TEXTGEN_BROKER_URL": settings.broker_url,
        "PORT": str(settings.port),
        "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads sleep, so that others can work
        "PYTHONUNBUFFERED": "1",
    }


def _worker(role: str) -> tuple[str, ...]:
    return ("-m", "web.cli", "worker", role)


def _python(name: str, arguments: tuple[str, ...], variables: Mapping[str, str]) -> Program:
    return Program(name, (sys.executable, *arguments), variables)
