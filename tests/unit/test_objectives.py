from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.objectives import (
    ANSWER,
    GAPS,
    OBJECTIVES,
    Infill,
    Mask,
    Objective,
    Order,
    Passages,
    examples,
    marks_of,
)
from textgen.options import ObjectiveName
from textgen.tokenizers import CharTokenizer, Tokenizer, with_marks

ALPHABET = "abcdefghij .!。"
NAMES: Sequence[ObjectiveName] = tuple(OBJECTIVES)
TOKENIZER = with_marks(CharTokenizer(ALPHABET), marks_of(NAMES))
IDS = TOKENIZER.special_ids
TEXT = st.text(ALPHABET, min_size=4, max_size=120)


def encode(text: str, tokenizer: Tokenizer = TOKENIZER) -> np.ndarray:
    return tokenizer.encode(text).astype(np.int64)


def split_at(ids: Sequence[int], mark: str) -> tuple[list[int], list[int]]:
    place = list(ids).index(IDS[mark])
    return list(ids[:place]), list(ids[place + 1 :])


@given(TEXT, st.integers(0, 10**6))
def test_every_task_asks_and_answers(text: str, seed: int) -> None:
    for name, kind in OBJECTIVES.items():
        task = kind(TOKENIZER).example(encode(text), np.random.default_rng(seed))
        if task is None:
            assert name == "order"
            continue
        assert task.prompt[0] == IDS[name]
        assert task.prompt[-1] == IDS[ANSWER]
        assert task.answer[-1] == IDS["end"]
        assert task.size == len(task.prompt) + len(task.answer)


@given(TEXT, st.integers(0, 10**6))
def test_the_middle_put_in_its_gap_gives_the_passage(text: str, seed: int) -> None:
    task = Infill(TOKENIZER).example(encode(text), np.random.default_rng(seed))
    assert task is not None
    suffix, rest = split_at(task.prompt[1:].tolist(), GAPS[0])
    prefix, _ = split_at(rest, ANSWER)
    middle = task.answer[:-1].tolist()
    assert middle
    assert TOKENIZER.decode([*prefix, *middle, *suffix]) == text


@given(TEXT, st.integers(0, 10**6))
def test_hidden_spans_put_in_their_gaps_give_the_passage(text: str, seed: int) -> None:
    task = Mask(TOKENIZER).example(encode(text), np.random.default_rng(seed))
    assert task is not None
    spans: dict[int, list[int]] = {}
    for token in task.answer[:-1].tolist():
        if token >= IDS[GAPS[0]] and token <= IDS[GAPS[-1]]:
            spans[token] = current = []
        else:
            current.append(token)
    assert spans
    assert all(spans.values())
    filled = [part for token in task.prompt[1:-1].tolist() for part in spans.get(token, [token])]
    assert TOKENIZER.decode(filled) == text
    hidden = sum(map(len, spans.values()))
    assert hidden == max(1, round(0.2 * len(text)))


SENTENCES = st.lists(
    st.tuples(
        st.text("abc ", min_size=1, max_size=9), st.sampled_from([".", "!", "。", "..."])
    ).map("".join),
    min_size=3,
    max_size=12,
)


@given(SENTENCES, st.integers(0, 10**6))
def test_sentences_in_the_answers_order_are_the_text(sentences: list[str], seed: int) -> None:
    text = "".join(sentences)
    task = Order(TOKENIZER).example(encode(text), np.random.default_rng(seed))
    assert task is not None
    shown: dict[int, list[int]] = {}
    for token in task.prompt[1:-1].tolist():
        if IDS[GAPS[0]] <= token <= IDS[GAPS[-1]]:
            shown[token] = current = []
        else:
            current.append(token)
    answer = task.answer[:-1].tolist()
    assert sorted(answer) == sorted(shown)
    put_back = TOKENIZER.decode([token for mark in answer for token in shown[mark]])
    assert text[len(sentences[0]) :].startswith(put_back)
    assert len(shown) == min(len(sentences) - 1, len(GAPS))


def test_order_is_really_shuffled() -> None:
    passage = encode("a. b. c. d. e. f. ")
    objective = Order(TOKENIZER)
    answers = set()
    for seed in range(40):
        task = objective.example(passage, np.random.default_rng(seed))
        assert task is not None
        answers.add(tuple(task.answer.tolist()))
    assert len(answers) > 20


@pytest.mark.parametrize("kind", [Infill, Mask])
def test_gaps_lie_everywhere(kind: type[Objective]) -> None:
    passage = encode("abcdefghij")
    objective, hidden = kind(TOKENIZER), set()
    for seed in range(200):
        task = objective.example(passage, np.random.default_rng(seed))
        assert task is not None
        hidden |= set(TOKENIZER.decode(task.answer))
    assert hidden == set("abcdefghij")


def test_what_is_too_short_is_good_for_no_task() -> None:
    for kind in OBJECTIVES.values():
        assert kind(TOKENIZER).example(encode("abc"), np.random.default_rng(0)) is None
        passages = Passages(encode("ab").astype(np.uint16), TOKENIZER, documents=False)
        assert list(examples(kind(TOKENIZER), passages, np.random.default_rng(0))) == []


@given(st.lists(st.text("abcdef", min_size=1, max_size=30), min_size=1), st.integers(0, 10**6))
def test_a_passage_lies_within_one_document(documents: list[str], seed: int) -> None:
    ids = np.concatenate([[IDS["end"]], TOKENIZER.encode_documents(documents)])
    passages = Passages(ids.astype(np.uint16), TOKENIZER, documents=True)
    random = np.random.default_rng(seed)
    for _ in range(20):
        passage = passages.draw(4, 20, random)
        text = TOKENIZER.decode(passage)
        assert len(passage) <= 20
        assert IDS["end"] not in passage
        assert any(text in document for document in documents)


def test_a_passage_lies_within_one_turn() -> None:
    turns = ["abcdef", "ghij", "aaaa"]
    parts = [encode(turns[0]), [IDS[ANSWER]], encode(turns[1]), [IDS["end"]], encode(turns[2])]
    tokens = np.concatenate([[IDS["end"]], *parts, [IDS["end"]]]).astype(np.uint16)
    passages, random = Passages(tokens, TOKENIZER, documents=True), np.random.default_rng(0)
    drawn = {TOKENIZER.decode(passages.draw(4, 20, random)) for _ in range(300)}
    assert set(turns) <= drawn
    assert all(any(text in turn for turn in turns) for text in drawn)


def test_passages_come_from_all_of_a_text_in_all_lengths() -> None:
    tokens = np.arange(300, dtype=np.uint16)
    passages, random = Passages(tokens, TOKENIZER, documents=False), np.random.default_rng(0)
    drawn = [passages.draw(4, 20, random) for _ in range(3000)]
    assert {len(passage) for passage in drawn} == set(range(4, 21))
    assert set(np.concatenate(drawn).tolist()) == set(range(300))
    assert all((np.diff(passage) == 1).all() for passage in drawn)


def test_marks_are_shared_and_ordered() -> None:
    assert marks_of(["causal"]) == ()
    assert marks_of(["mask", "infill"]) == marks_of(["infill", "mask"])
    assert set(marks_of(["mask", "infill"])) == {"mask", "infill", ANSWER, *GAPS}
