"""Files that cannot be trained on: a clear error with its code, and nothing half-made left."""

from __future__ import annotations

import io
import time

import openai
import pytest

from tests.stack import Stack, wait_for

GOOD_ROW = '{"text": "a line of text that is good"}\n'


def test_an_empty_file_is_refused_at_once(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("empty.txt", io.BytesIO(b"")), purpose="fine-tune")

    assert caught.value.code == "empty_file"


@pytest.mark.parametrize(
    ("name", "content", "code", "word"),
    [
        ("binary.txt", bytes(range(256)) * 40, "binary_file", "binary"),
        ("half.txt", ("Ein schöner Tag für Füße. " * 50).encode()[:-3] + b"\xc3", None, "byte"),
        ("middle.txt", "schön ".encode() * 50 + b"\xff" + "schön ".encode() * 50, None, "byte"),
        ("same.txt", b"a" * 5000, "one_symbol", "repeated 5,000 times"),
        ("one.txt", b"a", "corpus_too_small", "at least 32"),
        ("broken.jsonl", (GOOD_ROW * 6 + "{oops\n" + GOOD_ROW).encode(), None, "7"),
        ("nan.jsonl", (GOOD_ROW * 2 + '{"text": NaN}\n').encode(), None, "3"),
        ("other.jsonl", (GOOD_ROW + '{"words": "x"}\n').encode(), None, "text"),
    ],
)
def test_a_bad_file_fails_its_job_with_the_place(
    stack: Stack, client: openai.OpenAI, name: str, content: bytes, code: str | None, word: str
) -> None:
    models = {model.id for model in client.models.list()}
    file = client.files.create(file=(name, io.BytesIO(content)), purpose="fine-tune")

    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=file.id,
        extra_body={"hyperparameters": {"max_steps": 5}},
    )
    job = wait_for(client, job.id, "failed")

    assert job.error is not None
    assert job.error.code == code or code is None
    assert word in job.error.message
    if job.error.code not in ("one_symbol", "corpus_too_small"):  # faults of all files together
        assert name in job.error.message
    assert {model.id for model in client.models.list()} == models
    deadline = time.monotonic() + 60
    while (stack.home / "work" / "jobs" / job.id).exists():  # until its process has ended
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.files.delete(file.id).deleted


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("limit") / "home"
    with Stack(home, TEXTGEN_MAX_UPLOAD_BYTES="1000000", TEXTGEN_TRAIN_WORKERS="0") as stack:
        client = stack.client()

        with pytest.raises(openai.APIStatusError) as caught:
            client.files.create(
                file=("large.txt", io.BytesIO(b"word " * 300_000)), purpose="fine-tune"
            )

        assert caught.value.status_code == 413
        assert "1,000,000" in str(caught.value) or "1000000" in str(caught.value)
        assert client.files.list().data == []
        assert not list((home / "artifacts").rglob("*.txt"))


def test_300_megabytes_arrive_in_constant_memory(stack: Stack, client: openai.OpenAI) -> None:
    (web,) = [
        process
        for process in stack.processes("web.server")
        if not any(child in stack.processes("web.server") for child in process.children())
    ]
    before = web.memory_info().rss

    file = client.files.create(
        file=("large.txt", io.BytesIO(b"some words, " * (300 * 2**20 // 12))), purpose="fine-tune"
    )

    assert file.bytes == 300 * 2**20 // 12 * 12
    assert web.memory_info().rss - before < 60 * 2**20
    assert client.files.delete(file.id).deleted
