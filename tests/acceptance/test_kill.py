"""kill -9 in mid-work: every accepted job ends once, with the result of a run without the kill."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import psutil
import pytest
import torch

from tests.stack import Stack, completion_lines, wait_for, wait_for_batch
from textgen.bundles.bundle import Bundle, load_bundle
from textgen.corpus.sources import Source
from textgen.plan import Plan
from textgen.training.train import train_files

TRAINING = {"max_steps": 1500, "batch_size": 8, "sequence_length": 32, "hidden_size": 96}
BATCH_LINES = 1500


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: it is killed again and again."""
    with Stack(tmp_path_factory.mktemp("kill") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def client(stack: Stack) -> openai.OpenAI:
    return stack.client(max_retries=8)


@pytest.fixture(scope="module")
def training_file(client: openai.OpenAI, verses: Path) -> str:
    return client.files.create(file=verses, purpose="fine-tune").id


def submit(client: openai.OpenAI, training_file: str) -> str:
    return client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=training_file,
        seed=5,
        extra_body={"hyperparameters": TRAINING},
    ).id


def trained(stack: Stack, job_id: str) -> Bundle:
    (path,) = (stack.home / "artifacts" / "jobs" / job_id).glob("*/model/*.safetensors")
    return load_bundle(path)


class Undisturbed:
    """The weights that the library ends with when nothing stops it.

    A plan holds what was measured on a busy machine, so two jobs may have two plans; each is
    compared with a training of its own plan.
    """

    def __init__(self, text: Path, folder: Path) -> None:
        self._text = text
        self._folder = folder
        self._known: dict[str, dict[str, torch.Tensor]] = {}

    def weights(self, plan: Plan) -> dict[str, torch.Tensor]:
        name = plan.digest()
        if name not in self._known:
            threads = torch.get_num_threads()
            path = train_files(
                [Source(self._text)], folder=self._folder / name, plan=plan, threads=plan.threads
            )
            torch.set_num_threads(threads)
            assert path is not None
            self._known[name] = load_bundle(path).model.state_dict()
        return self._known[name]


@pytest.fixture(scope="module")
def undisturbed(verses: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(verses, tmp_path_factory.mktemp("undisturbed"))


def assert_undisturbed(stack: Stack, job_id: str, undisturbed: Undisturbed) -> None:
    """The job ended with the weights of a training that nothing stopped."""
    bundle = trained(stack, job_id)
    assert bundle.header.plan is not None
    expected = undisturbed.weights(bundle.header.plan)
    after = bundle.model.state_dict()
    assert after.keys() == expected.keys()
    assert all(torch.equal(after[name], expected[name]) for name in after)


def kill_child(stack: Stack) -> None:
    (child,) = stack.processes("worker.training.child")
    child.kill()


def kill_worker(stack: Stack) -> None:
    """The training worker's main process; its child must die of the closed pipe."""
    workers = [
        process
        for process in stack.processes("worker", "train")
        if "worker.training.child" not in " ".join(process.cmdline())
    ]
    (child,) = stack.processes("worker.training.child")
    for worker in workers:
        worker.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


def kill_redis(stack: Stack) -> None:
    (redis,) = stack.processes("redis-server")
    redis.kill()


def kill_everything(stack: Stack) -> None:
    stack.kill()
    stack.start()


def kill_engine(stack: Stack) -> None:
    (engine,) = stack.processes("worker.generation.engine_process")
    engine.kill()


def kill_generation_worker(stack: Stack) -> None:
    for process in stack.processes("worker", "generate"):
        process.kill()


@pytest.mark.parametrize("kill", [kill_child, kill_worker, kill_redis, kill_everything])
def test_a_killed_training_ends_with_the_same_weights(
    stack: Stack,
    client: openai.OpenAI,
    training_file: str,
    undisturbed: Undisturbed,
    kill: Callable[[Stack], None],
) -> None:
    job_id = submit(client, training_file)
    _until_under_way(stack, client, job_id)

    kill(stack)
    wait_for(client, job_id)

    assert_undisturbed(stack, job_id, undisturbed)
    with stack.http() as http:
        events = http.get(f"/v1/jobs/{job_id}/events", params={"limit": 1000}).json()["data"]
    assert [event["type"] for event in events].count("succeeded") == 1


@pytest.fixture(scope="module")
def written(client: openai.OpenAI, model_here: str) -> list[tuple[str, str]]:
    """What a batch writes when nobody disturbs it."""
    return _texts(client, wait_for_batch(client, _submit_batch(client, model_here)))


@pytest.fixture(scope="module")
def model_here(client: openai.OpenAI, training_file: str) -> str:
    return str(wait_for(client, submit(client, training_file)).fine_tuned_model)


@pytest.mark.parametrize("kill", [kill_engine, kill_generation_worker, kill_redis, kill_everything])
def test_a_killed_batch_ends_with_the_same_lines(
    stack: Stack,
    client: openai.OpenAI,
    model_here: str,
    written: list[tuple[str, str]],
    kill: Callable[[Stack], None],
) -> None:
    batch_id = _submit_batch(client, model_here)
    deadline = time.monotonic() + 60
    while client.batches.retrieve(batch_id).request_counts.completed < 100:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    kill(stack)
    batch = wait_for_batch(client, batch_id)

    assert batch.status == "completed"
    assert _texts(client, batch) == written


def test_a_drained_stack_loses_nothing(
    stack: Stack,
    client: openai.OpenAI,
    training_file: str,
    undisturbed: Undisturbed,
) -> None:
    job_id = submit(client, training_file)
    _until_under_way(stack, client, job_id)

    started = time.monotonic()
    assert stack.stop() == 0
    assert time.monotonic() - started < 90
    stack.start()
    wait_for(client, job_id)

    assert_undisturbed(stack, job_id, undisturbed)


def _until_under_way(stack: Stack, client: openai.OpenAI, job_id: str) -> None:
    """Until the training has a checkpoint behind it and steps in front."""
    deadline = time.monotonic() + 60
    with stack.http() as http:
        while time.monotonic() < deadline:
            if client.fine_tuning.jobs.checkpoints.list(job_id).data:
                return
            assert http.get(f"/v1/jobs/{job_id}").json()["state"] in ("queued", "running")
            time.sleep(0.05)
    raise AssertionError("no checkpoint within a minute")


def _submit_batch(client: openai.OpenAI, model: str) -> str:
    content = completion_lines(model, BATCH_LINES, max_tokens=60)
    file = client.files.create(file=("batch.jsonl", io.BytesIO(content)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
    ).id


def _texts(client: openai.OpenAI, batch: object) -> list[tuple[str, str]]:
    lines = client.files.content(batch.output_file_id).text.splitlines()  # type: ignore[attr-defined]
    values = [json.loads(line) for line in lines]
    return [
        (value["custom_id"], value["response"]["body"]["choices"][0]["text"]) for value in values
    ]
