"""One running stack for the acceptance tests, and a small model trained in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from selenium import webdriver

from tests.acceptance.browsing import chromium
from tests.acceptance.talks import STEPS, talks
from tests.stack import Stack, wait_for

VERSES = "\n".join(
    f"{first} {second} {third}."
    for first in ("The king", "The queen", "A fool", "My lord", "The night")
    for second in ("speaks to", "looks upon", "walks before", "sings of")
    for third in ("the sea", "the crown", "his sword", "her garden", "the moon", "all men")
)
TINY_STEPS = {"max_steps": 60, "batch_size": 8, "sequence_length": 32}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("acceptance") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def client(stack: Stack) -> openai.OpenAI:
    return stack.client()


@pytest.fixture(scope="session")
def strict(stack: Stack) -> openai.OpenAI:
    return stack.client(strict=True)


@pytest.fixture(scope="session")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with stack.http() as opened:
        yield opened


@pytest.fixture(scope="session")
def verses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus that a tiny model learns something of within seconds."""
    path = tmp_path_factory.mktemp("corpus") / "verses.txt"
    path.write_text(VERSES * 4)
    return path


@pytest.fixture(scope="session")
def verses_file(client: openai.OpenAI, verses: Path) -> str:
    return client.files.create(file=verses, purpose="fine-tune").id


def train(client: openai.OpenAI, name: str, content: str, **hyperparameters: Any) -> str:
    """Train a tiny model on a file of that content; the model's id."""
    file = client.files.create(file=(name, content.encode()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=file.id,
        seed=1,
        extra_body={"hyperparameters": hyperparameters},
    )
    return str(wait_for(client, job.id).fine_tuned_model)


@pytest.fixture(scope="session")
def model(client: openai.OpenAI, verses_file: str) -> str:
    """The id of a trained tiny model."""
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=verses_file,
        seed=7,
        extra_body={"hyperparameters": TINY_STEPS},
    )
    return str(wait_for(client, job.id).fine_tuned_model)


def train_twice(client: openai.OpenAI, file_id: str) -> list[str]:
    """The ids of two trainings of a tiny model that differ by their seeds and have ended."""
    jobs = [
        client.fine_tuning.jobs.create(
            model="lstm-tiny",
            training_file=file_id,
            seed=seed,
            extra_body={"hyperparameters": TINY_STEPS},
        ).id
        for seed in (1, 2)
    ]
    for job in jobs:
        wait_for(client, job)
    return jobs


@pytest.fixture(scope="session")
def speaker(client: openai.OpenAI) -> str:
    """The id of a tiny model that replies."""
    return train(client, "talks.jsonl", talks(), max_steps=STEPS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    yield from chromium(tmp_path_factory.mktemp("profile"))
