"""Classes of texts, through the whole service and the official client."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.conftest import train
from tests.stack import Stack, wait_for

FOODS = ("soup", "bread", "rice", "cake", "tea", "fish", "salad", "pie")
ENGLISH = {
    "praise": ("was lovely", "tasted wonderful", "is the best in town", "made me happy"),
    "complaint": ("was cold", "tasted awful", "is far too dear", "made me ill"),
}
CHINESE = {
    "praise": ("很好吃", "非常新鲜", "我很喜欢", "味道棒极了"),
    "complaint": ("太难吃了", "一点也不新鲜", "我不喜欢", "味道糟糕极了"),
}
DISHES = ("汤", "面包", "米饭", "蛋糕", "茶", "鱼", "沙拉", "饼")
OPENINGS = ("", "Well, ", "I must say, ", "Yesterday ")


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """Made-up reviews in two languages; one in three is a complaint."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        label = draw.choice(("praise", "praise", "complaint"))
        if draw.random() < 0.5:
            said = draw.choice(ENGLISH[label])
            text = (
                f"{draw.choice(OPENINGS)}the {draw.choice(FOODS)} {said}, number {draw.random()}."
            )
        else:
            text = (
                f"{draw.choice(DISHES)}{draw.choice(CHINESE[label])}，{draw.randrange(10**6)}号。"
            )
        made.append({"text": text, "label": label})
    return made


HELD_OUT = rows(120, seed=2)


def jsonl(entries: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


@pytest.fixture(scope="module")
def classifier(client: openai.OpenAI) -> str:
    return train(client, "reviews.jsonl", jsonl(rows(800, seed=1)), max_steps=200)


def classify(http: httpx.Client, model: str, texts: list[str], **more: Any) -> dict[str, Any]:
    response = http.post("/v1/classify", json={"model": model, "input": texts, **more})
    assert response.status_code == 200, response.text
    return dict(response.json())


def macro_f1(found: list[str], right: list[str]) -> float:
    scores = []
    for label in set(right):
        both = sum(a == b == label for a, b in zip(found, right, strict=True))
        scores.append(2 * both / (found.count(label) + right.count(label)))
    return sum(scores) / len(scores)


def test_held_out_texts_get_their_class(http: httpx.Client, classifier: str) -> None:
    found: list[str] = []
    for first in range(0, len(HELD_OUT), 60):
        texts = [row["text"] for row in HELD_OUT[first : first + 60]]
        found += [each["label"] for each in classify(http, classifier, texts)["data"]]
    right = [row["label"] for row in HELD_OUT]
    majority = macro_f1(["praise"] * len(right), right)
    assert majority < 0.5
    assert macro_f1(found, right) > 0.9


def test_an_answer_has_all_labels_or_the_likeliest(http: httpx.Client, classifier: str) -> None:
    texts = [row["text"] for row in HELD_OUT[:5]]
    whole = classify(http, classifier, texts)
    assert [each["index"] for each in whole["data"]] == list(range(5))
    for each in whole["data"]:
        chances = [pair["probability"] for pair in each["probabilities"]]
        assert {pair["label"] for pair in each["probabilities"]} == {"praise", "complaint"}
        assert sum(chances) == pytest.approx(1)
        assert chances[0] == max(chances) == each["probability"]
    assert whole["usage"]["prompt_tokens"] == whole["usage"]["total_tokens"] > 5
    short = classify(http, classifier, texts, top_k=1)
    assert [each["probabilities"] for each in short["data"]] == [
        each["probabilities"][:1] for each in whole["data"]
    ]
    alone = http.post("/v1/classify", json={"model": classifier, "input": texts[3]}).json()
    assert alone["data"][0]["probability"] == pytest.approx(
        whole["data"][3]["probability"], abs=1e-5
    )


def test_the_model_says_what_it_tells_apart(client: openai.OpenAI, classifier: str) -> None:
    model = client.models.retrieve(classifier).model_dump()
    assert model["objectives"] == ["classify"]
    assert model["rows"] == "labels"
    assert model["labels"] == ["complaint", "praise"]
    assert model["metrics"]["full_valid_f1"] > 0.9
    assert len(model["classification"]["confusion"]) == 2


def test_what_cannot_be_asked_says_how_it_could(
    client: openai.OpenAI, http: httpx.Client, classifier: str, model: str
) -> None:
    refused = http.post("/v1/classify", json={"model": model, "input": "a"})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "not_a_classifier"
    assert "label" in refused.json()["error"]["message"]
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=classifier, prompt="The soup")
    assert caught.value.code == "writing_not_learnt"
    assert "/v1/classify" in caught.value.message


@pytest.mark.slow
def test_a_language_model_learns_classes_and_goes_on_writing(
    client: openai.OpenAI, http: httpx.Client
) -> None:
    texts = "".join(row["text"] + "\n" for row in rows(800, seed=5))
    base = train(client, "reviews.txt", texts, format="lines", max_steps=100)
    content = jsonl(rows(300, seed=6)).encode()
    file = client.files.create(file=("few.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=base,
        training_file=file.id,
        seed=1,
        extra_body={
            "hyperparameters": {"max_steps": 120, "objectives": {"classify": 1, "causal": 1}}
        },
    )
    both = str(wait_for(client, job.id).fine_tuned_model)
    found = classify(http, both, [row["text"] for row in HELD_OUT[:60]])["data"]
    right = [row["label"] for row in HELD_OUT[:60]]
    assert macro_f1([each["label"] for each in found], right) > 0.8
    answer = client.completions.create(model=both, prompt="the soup ", max_tokens=30, seed=1)
    assert answer.choices[0].text


def test_a_batch_classifies_its_lines(client: openai.OpenAI, classifier: str) -> None:
    lines = [
        {
            "custom_id": str(number),
            "method": "POST",
            "url": "/v1/classify",
            "body": {"model": classifier, "input": row["text"]},
        }
        for number, row in enumerate(HELD_OUT[:20])
    ]
    file = client.files.create(file=("lines.jsonl", jsonl(lines).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/classify",  # type: ignore[arg-type]
        completion_window="24h",
    )
    for _ in range(600):
        batch = client.batches.retrieve(batch.id)
        if batch.status in ("completed", "failed"):
            break
        time.sleep(0.1)
    assert batch.status == "completed"
    assert batch.output_file_id is not None
    results = map(json.loads, client.files.content(batch.output_file_id).text.splitlines())
    found = [each["response"]["body"]["data"][0]["label"] for each in results]
    assert macro_f1(found, [row["label"] for row in HELD_OUT[:20]]) > 0.8


@pytest.mark.slow
def test_the_command_line_trains_and_classifies(stack: Stack, tmp_path: Path) -> None:
    table = tmp_path / "reviews.csv"
    table.write_text(
        "text,label\n" + "".join(f'"{r["text"]}",{r["label"]}\n' for r in rows(300, 1))
    )
    done = stack.cli(
        "train", str(table), "--name", "reviews", "--model", "lstm-tiny",
        "--set", "objectives=classify", "--set", "max_steps=60",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "textgen classify reviews" in done.stdout
    one = stack.cli("classify", "reviews", "the soup was cold")
    assert one.returncode == 0
    assert {"praise", "complaint"} <= set(one.stdout.split())
    many = stack.cli("classify", "reviews", "--file", str(table), "--json")
    results = json.loads(many.stdout)
    assert len(results) == 300
    assert results[299]["index"] == 299
    assert stack.cli("classify", "reviews").returncode == 2
    assert stack.cli("classify", "nobody", "a").returncode == 1
