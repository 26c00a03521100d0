"""Classes found by a model: alone and together, by the library and by the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.random_models import ALPHABET, BundleMaker, run, texts
from textgen.bundles.bundle import Bundle
from textgen.classification import classify
from textgen.engine.engine import Engine, Request
from textgen.errors import InvalidCorpus, InvalidOption
from textgen.evaluation.classes import ClassTally, evaluate_classifier
from textgen.options import SamplingOptions
from textgen.tokenizers import CharTokenizer, with_marks

LABELS = ("ja", "nein", "vielleicht")
TOKENIZER = with_marks(CharTokenizer(ALPHABET), ("answer", *(f"label:{x}" for x in LABELS)))
TEXTS = ["", "a", "abc de", "我是一名程序员", "long " * 60, "x" * 300]


@pytest.fixture(scope="module")
def classifier(make_bundle: BundleMaker) -> Bundle:
    bundle = make_bundle(layers=2, tokenizer=TOKENIZER, documents=True, spread=8)
    update = {"objectives": ("classify", "causal"), "labels": LABELS, "rows": "labels"}
    return Bundle(bundle.header.model_copy(update=update), bundle.tokenizer, bundle.model)


def expected(bundle: Bundle, text: str) -> dict[str, float]:
    """By the definition: one forward pass over an end, the text and the mark."""
    ids = TOKENIZER.special_ids
    read = [ids["end"], *TOKENIZER.encode(text).tolist(), ids["answer"]]
    with torch.no_grad():
        logits = bundle.model(torch.tensor([read]))[0][0, -1]
    chances = torch.softmax(logits[[ids[f"label:{label}"] for label in LABELS]], 0).tolist()
    return dict(zip(LABELS, chances, strict=True))


def test_chances_are_the_softmax_over_the_labels_alone(classifier: Bundle) -> None:
    for text, found in zip(TEXTS, classify(classifier, TEXTS), strict=True):
        assert found.probabilities == pytest.approx(expected(classifier, text), abs=1e-5)
        assert found.label == max(found.probabilities, key=lambda each: found.probabilities[each])
        assert found.probability == max(found.probabilities.values())
        assert sum(found.probabilities.values()) == pytest.approx(1)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(st.sampled_from(ALPHABET + "?"), max_size=150), max_size=90))
def test_a_text_alone_has_the_chances_it_has_among_others(
    classifier: Bundle, some: list[str]
) -> None:
    together = list(classify(classifier, some))
    assert len(together) == len(some)
    for text, found in zip(some[:5], together, strict=False):
        (alone,) = classify(classifier, [text])
        assert found.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_texts_are_taken_some_at_a_time(classifier: Bundle) -> None:
    taken = []

    def endless() -> Iterator[str]:
        for number in range(10**9):
            taken.append(number)
            yield "abc"

    found = classify(classifier, endless())
    assert next(found).label in LABELS
    assert len(taken) < 2000


def request(name: str, text: str, **more: Any) -> Request:
    options = SamplingOptions(max_tokens=6, temperature=0)
    return Request(name, TOKENIZER.encode(text), options, 0, **more)


def test_the_engine_classifies_beside_what_it_writes(classifier: Bundle) -> None:
    alone = Engine(classifier, slots=3)
    alone.submit(request("text", "abc de"))
    written = texts(run(alone))["text"]
    engine = Engine(classifier, slots=3)
    for number, text in enumerate(TEXTS):
        engine.submit(request(str(number), text, task="classify"))
        engine.submit(request(f"text {number}", "abc de"))
    deltas = run(engine)
    assert {texts(deltas)[f"text {number}"] for number in range(len(TEXTS))} == {written}
    found = {delta.id: delta for delta in deltas if delta.chances is not None}
    for number, text in enumerate(TEXTS):
        delta = found[str(number)]
        assert delta.chances == pytest.approx(tuple(expected(classifier, text).values()), abs=1e-5)
        assert (delta.text, delta.tokens, delta.finish_reason) == ("", 0, "stop")
        assert delta.prompt_tokens == len(text)
    assert len(found) == len(TEXTS)


def test_the_engine_never_writes_a_label(classifier: Bundle) -> None:
    loud = Bundle(classifier.header, classifier.tokenizer, classifier.model)
    before = loud.model.output.bias.detach().clone()
    with torch.no_grad():
        for label in LABELS:
            loud.model.output.bias[TOKENIZER.special_ids[f"label:{label}"]] = 50
        loud.model.output.bias[TOKENIZER.end_id] = -50
    try:
        engine = Engine(loud, slots=2)
        engine.submit(request("text", "abc"))
        assert len(texts(run(engine))["text"]) == 6
    finally:
        with torch.no_grad():
            loud.model.output.bias.copy_(before)


def test_a_request_to_classify_can_be_stopped(classifier: Bundle) -> None:
    engine = Engine(classifier, slots=2)
    engine.submit(request("long", "long " * 60, task="classify"))
    engine.step()
    engine.cancel("long")
    assert not engine.busy
    assert engine.free_slots == 2


def test_a_model_without_labels_says_how_to_train_one(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(tokenizer=TOKENIZER)
    engine = Engine(bundle, slots=1)
    for ask in (
        lambda: classify(bundle, ["a"]),
        lambda: engine.submit(request("one", "a", task="classify")),
    ):
        with pytest.raises(InvalidOption, match="objective classify") as caught:
            ask()
        assert caught.value.code == "not_a_classifier"
    assert not engine.busy


def scores(*rows: tuple[float, ...]) -> np.ndarray:
    return np.log(np.array(rows))


def test_figures_follow_from_the_matrix() -> None:
    """Worked out by hand: three texts of a, one of b, none of c."""
    tally = ClassTally(["a", "b", "c"])
    tally.add(scores((0.8, 0.1, 0.1), (0.6, 0.3, 0.1)), np.array([0, 0]))
    tally.add(scores((0.3, 0.5, 0.2), (0.2, 0.7, 0.1)), np.array([0, 1]))
    found = tally.metrics()
    assert found.confusion.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.loss == pytest.approx(-np.log([0.8, 0.6, 0.3, 0.7]).mean())
    assert found.accuracy == 0.75
    assert found.precision.tolist() == [1, 0.5, 0]
    assert found.recall.tolist() == pytest.approx([2 / 3, 1, 0])
    assert found.f1.tolist() == pytest.approx([0.8, 2 / 3, 0])
    assert found.macro(found.f1) == pytest.approx((0.8 + 2 / 3) / 2)
    assert found.weighted(found.f1) == pytest.approx((3 * 0.8 + 2 / 3) / 4)
    # Each confidence has a bin of its own; right are 0.8, 0.6 and 0.7.
    assert found.calibration_error == pytest.approx((0.2 + 0.4 + 0.5 + 0.3) / 4)
    told = found.as_dict()
    assert told["confusion"][0] == [2, 1, 0]
    assert told["classes"][1] == {
        "label": "b", "texts": 1, "precision": 0.5, "recall": 1, "f1": pytest.approx(2 / 3),
    }  # fmt: skip


def test_of_many_classes_the_most_confused_are_told() -> None:
    names = [str(number) for number in range(60)]
    tally = ClassTally(names)
    chances = np.full((5, 60), 0.001)
    chances[[0, 1, 2, 3, 4], [7, 7, 3, 9, 9]] = 0.9
    tally.add(np.log(chances), np.array([5, 5, 3, 5, 8]))
    told = tally.metrics().as_dict()
    assert "confusion" not in told
    assert told["most_confused"][0] == {"label": "5", "found": "7", "texts": 2}
    assert len(told["most_confused"]) == 3


def test_a_classifier_is_measured_on_rows(classifier: Bundle) -> None:
    rows = [(text, LABELS[number % 3]) for number, text in enumerate(TEXTS)]
    found = evaluate_classifier(classifier, iter(rows))
    assert found.texts == len(rows)
    chances = [expected(classifier, text)[label] for text, label in rows]
    assert found.loss == pytest.approx(-np.log(chances).mean(), abs=1e-4)
    with pytest.raises(InvalidCorpus, match=r"Text 2 .*'perhaps'"):
        evaluate_classifier(classifier, [("a", "ja"), ("b", "perhaps")])
    with pytest.raises(InvalidCorpus):
        evaluate_classifier(classifier, [])
