"""Vectors of texts, through the official client."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.stack import Stack, wait_for_batch

TEXTS = ["The king speaks to the sea.", "The king speaks to the crown.", "zzzz", "a" * 100]


def dot(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("strictly", [False, True], ids=["ordinary", "strict"])
def test_texts_become_vectors_of_length_1(stack: Stack, model: str, strictly: bool) -> None:
    client = stack.client(strict=strictly)
    # The ordinary client asks for base64 by itself; a strict one refuses to read it from anybody.
    asked: dict[str, Any] = {"encoding_format": "float"} if strictly else {}
    answer = client.embeddings.create(model=model, input=TEXTS, **asked)
    vectors = [each.embedding for each in answer.data]
    assert [each.index for each in answer.data] == [0, 1, 2, 3]
    assert {len(vector) for vector in vectors} == {128}  # lstm-tiny has one layer of so many units
    for vector in vectors:
        assert dot(vector, vector) == pytest.approx(1, abs=1e-5)
    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2])
    assert answer.usage.prompt_tokens == sum(map(len, TEXTS))
    for text, vector in zip(TEXTS, vectors, strict=True):  # alone as in company, to the bit
        alone = client.embeddings.create(model=model, input=text, encoding_format="float")
        assert alone.data[0].embedding == vector


def test_ids_are_texts_too(client: openai.OpenAI, stack: Stack, model: str) -> None:
    with stack.http() as http:
        tokens = http.post("/v1/tokenize", json={"model": model, "prompt": TEXTS[0]}).json()
    by_ids, by_text = (
        client.embeddings.create(model=model, input=given).data[0].embedding
        for given in (tokens["tokens"], TEXTS[0])
    )
    assert by_ids == by_text
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=model, input=[99999])
    assert "99999" in caught.value.message
    assert caught.value.param == "input"


def test_a_batch_embeds_its_lines(client: openai.OpenAI, model: str) -> None:
    lines = [
        {
            "custom_id": str(number),
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": model, "input": text, "encoding_format": "base64"},
        }
        for number, text in enumerate(TEXTS)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = client.files.create(file=("lines.jsonl", content), purpose="batch")
    batch: Any = client.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
    )
    batch = wait_for_batch(client, batch.id)
    assert batch.status == "completed"
    direct = client.embeddings.create(model=model, input=TEXTS).data
    rows = client.files.content(batch.output_file_id).text.splitlines()
    for row, wanted in zip(map(json.loads, rows), direct, strict=True):
        raw = base64.b64decode(row["response"]["body"]["data"][0]["embedding"])
        assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == wanted.embedding


def test_the_command_line_embeds_and_tokenizes(
    stack: Stack, client: openai.OpenAI, model: str, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(TEXTS * 20))
    run = stack.cli("embed", model, "--file", str(lines))
    assert run.returncode == 0, run.stderr
    rows = list(map(json.loads, run.stdout.splitlines()))
    assert [(row["index"], row["text"]) for row in rows] == list(enumerate(TEXTS * 20))
    wanted = client.embeddings.create(model=model, input=TEXTS[0]).data[0].embedding
    assert rows[0]["embedding"] == rows[76]["embedding"] == wanted
    shown = stack.cli("tokenize", model, "a b\n")
    assert [line.split()[1:] for line in shown.stdout.splitlines()[1:]] == [
        ["a"], [], ["b"], ["\\n"],
    ]  # fmt: skip
    assert json.loads(stack.cli("tokenize", model, "a", "--json").stdout)["count"] == 1
    assert stack.cli("embed", model).returncode == 2
