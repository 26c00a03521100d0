"""Prompts with completions, and conversations: from rows of a file to ids and what counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.bundles.bundle import load_bundle
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.documents import Dialogue, conversation, document_hash, prompt_and_completion
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source, read_documents
from textgen.engine.context import ContextMaker
from textgen.errors import InvalidCorpus
from textgen.events import Event
from textgen.options import Hyperparameters, TokenizerName
from textgen.training.train import train_files

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
KEPT = Hyperparameters(validation_fraction=0, shuffle=False)


def write(folder: Path, rows: Sequence[Any], name: str = "rows.jsonl") -> Source:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Source(path)


def refusal(folder: Path, rows: Sequence[Any]) -> InvalidCorpus:
    with pytest.raises(InvalidCorpus) as caught:
        list(read_documents(write(folder, rows)))
    return caught.value


def counted_texts(corpus: EncodedCorpus) -> list[str]:
    """The stretches of the training part that count, as text, split at their ends."""
    ids, counted = corpus.tokens("train"), corpus.counted("train")
    assert counted is not None
    assert len(ids) == len(counted)
    found = ids[counted == 1]
    ends = np.flatnonzero(found == corpus.tokenizer.end_id)
    assert found.size == 0 or ends[-1] == found.size - 1
    return [corpus.tokenizer.decode(part) for part in np.split(found, ends + 1)[:-1]]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8),
    st.sampled_from(["char", "byte", "bpe", "unigram", "word"]),
)
def test_exactly_the_completions_count(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: list[tuple[str, str]],
    tokenizer: TokenizerName,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    pairs = [*pairs, ("Say something long.", "This is a sentence of some length, is it not?")]
    rows = [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]
    options = KEPT.model_copy(update={"tokenizer": tokenizer})
    corpus = encode_corpus([write(folder, rows)], options, folder / "out")
    kept = [(prompt, completion) for prompt, completion in pairs if completion]
    assert corpus.kind == "prompts"
    assert counted_texts(corpus) == [completion for _, completion in kept]
    whole = "".join(prompt + completion for prompt, completion in kept)
    assert corpus.tokenizer.decode(corpus.tokens("train")) == whole
    sizes = corpus.splits["train"]
    assert sizes.documents == len(kept)
    assert sizes.counted_characters == sum(len(completion) for _, completion in kept)
    assert sizes.counted_tokens == int((corpus.counted("train") == 1).sum())  # type: ignore[union-attr]


CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello!"},
    {"role": "assistant", "content": "Good day to you."},
    {"role": "user", "content": "And again?"},
    {"role": "assistant", "content": "Once more.", "weight": 0},
    {"role": "assistant", "content": "Farewell."},
]


def test_what_the_assistant_says_counts_but_for_weight_0(tmp_path: Path) -> None:
    corpus = encode_corpus([write(tmp_path, [{"messages": CHAT}])], KEPT, tmp_path / "out")
    assert corpus.kind == "messages"
    assert counted_texts(corpus) == ["Good day to you.", "Farewell."]
    ids = corpus.tokens("train").tolist()
    special = corpus.tokenizer.special_ids
    roles = [special[str(message["role"])] for message in CHAT]
    assert [token for token in ids if token in roles] == roles
    assert ids.count(special["end"]) == len(CHAT) + 1


def test_a_corpus_that_lies_there_comes_back_with_its_mask(tmp_path: Path) -> None:
    source = write(tmp_path, [{"messages": CHAT}])
    first = encode_corpus([source], KEPT, tmp_path / "out")
    again = encode_corpus([source], KEPT, tmp_path / "out")
    assert (again.sha256, again.kind) == (first.sha256, "messages")
    assert counted_texts(again) == counted_texts(first)
    (tmp_path / "out" / "train.counted").unlink()
    assert counted_texts(encode_corpus([source], KEPT, tmp_path / "out"))


def test_a_file_of_texts_has_no_mask(tmp_path: Path) -> None:
    source = write(tmp_path, [{"text": "some text that is long enough to learn from"}])
    corpus = encode_corpus([source], KEPT, tmp_path / "out")
    assert corpus.kind == "text"
    assert corpus.counted("train") is None


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"text": "a"}, {"prompt": "a", "completion": "b"}], ("line 2", "'prompt'", "two files")),
        ([{"prompt": "a"}], ("line 1", "no 'completion'")),
        ([{"prompt": 1, "completion": "b"}], ("line 1", "'prompt' that is not a string")),
        ([{"messages": []}], ("line 1", "messages")),
        ([{"messages": "hello"}], ("line 1", "messages")),
        ([{"messages": ["hello"]}], ("line 1", "number 0", "role")),
        ([{"messages": [{"role": "robot", "content": "a"}]}], ("'robot'", "assistant")),
        ([{"messages": [{"role": "user"}]}], ("number 0", "content")),
        ([{"messages": [{"role": "assistant", "content": "a", "weight": 2}]}], ("weight 2",)),
        ([{"prompt": "a\0", "completion": "b"}], ("NUL",)),
        ([{"answer": "a"}], ("'answer'", "completion")),
    ],
)
def test_rows_that_cannot_be_read_are_named(
    tmp_path: Path, rows: Sequence[Any], words: tuple[str, ...]
) -> None:
    error = refusal(tmp_path, rows)
    assert error.code == "invalid_jsonl_line"
    for word in words:
        assert word in error.message


def test_dialogues_with_nothing_to_learn_are_left_out(tmp_path: Path) -> None:
    assert prompt_and_completion("a", "") is None
    assert conversation([{"role": "user", "content": "a"}]) is None
    source = write(tmp_path, [{"prompt": "a", "completion": ""}, {"prompt": "", "completion": "b"}])
    documents = list(read_documents(source))
    assert [each.text for each in documents if isinstance(each, Dialogue)] == ["b"]


def test_csv_columns_make_prompts_and_completions(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,reply,prompt,completion\nq1,r1,p1,c1\nq2,r2,p2,c2\n")
    plain = [each.text for each in read_documents(Source(path)) if isinstance(each, Dialogue)]
    assert plain == ["p1c1", "p2c2"]
    named = Source(path, prompt_column="question", completion_column="reply")
    assert [each.text for each in read_documents(named) if isinstance(each, Dialogue)] == [
        "q1r1", "q2r2",
    ]  # fmt: skip
    with pytest.raises(InvalidCorpus, match=r"'answer'.*'completion_column'"):
        list(read_documents(Source(path, prompt_column="question", completion_column="answer")))


def test_the_hash_knows_prompt_from_completion() -> None:
    one, other = prompt_and_completion("ab", "c"), prompt_and_completion("a", "bc")
    assert one is not None and other is not None
    assert len({document_hash(each) for each in (one, other, "abc")}) == 3


def test_generation_asks_as_the_corpus_did(tmp_path: Path) -> None:
    """What the model reads before it answers are the ids that came before answers in training."""
    rows = [
        {"prompt": "One and one?", "completion": "Two, I should think, or something like that."}
    ]
    for name, row in (
        ("prompts", rows[0]),
        (
            "messages",
            {"messages": [CHAT[1], {**CHAT[2], "content": "Good day to you, dear friend!"}]},
        ),
    ):
        corpus = encode_corpus([write(tmp_path, [row], f"{name}.jsonl")], KEPT, tmp_path / name)
        ids, counted = corpus.tokens("train"), corpus.counted("train")
        assert counted is not None
        context = ContextMaker(corpus.tokenizer, documents=True, rows=corpus.kind)
        prompt = corpus.tokenizer.encode("One and one?" if name == "prompts" else "Hello!")
        assert context.make(prompt).tolist() == ids[: np.flatnonzero(counted)[0]].tolist()


def test_a_model_learns_to_answer(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"What is {one} plus {two}?", "completion": f"It is {one + two}."}
        for one in range(6)
        for two in range(6)
    ] * 8
    options = Hyperparameters.parse(
        {"max_steps": 250, "hidden_size": 64, "batch_size": 16, "sequence_length": 32}
    )
    path = train_files([write(tmp_path, rows)], folder=tmp_path, preset="lstm-tiny",
                       hyperparameters=options)  # fmt: skip
    assert path is not None
    bundle = load_bundle(path)
    assert bundle.header.rows == "prompts"
    # All that counts is the answer, most of which is the same in each.
    assert bundle.header.metrics["full_valid_loss"] < 0.5  # type: ignore[operator]


def test_files_with_rows_of_two_kinds_are_refused(tmp_path: Path) -> None:
    chat = write(tmp_path, [{"messages": CHAT}], "chat.jsonl")
    prompts = write(tmp_path, [{"prompt": "a", "completion": "b"}] * 20, "prompts.jsonl")
    for train, valid in (([chat, prompts], []), ([chat], [prompts])):
        with pytest.raises(
            InvalidCorpus, match=r"prompts.jsonl has rows of prompts.*messages"
        ) as e:
            encode_corpus(train, KEPT, tmp_path / "out", validation_sources=valid)
        assert e.value.code == "mixed_formats"


def test_validation_text_that_begins_with_a_long_prompt_is_still_measured(tmp_path: Path) -> None:
    """Of one much longer than what a quick validation reads, all is read."""
    long = {"prompt": "What was it? " * 800, "completion": "It was this, I think."}
    rows = [{"prompt": "What is it?", "completion": "It is that, I think."}] * 40
    options = Hyperparameters.parse(
        {"max_steps": 40, "hidden_size": 16, "batch_size": 4, "sequence_length": 16}
    )
    events: list[Event] = []
    path = train_files(
        [write(tmp_path, rows)], folder=tmp_path, preset="lstm-tiny", hyperparameters=options,
        validation_sources=[write(tmp_path, [long], "valid.jsonl")], on_event=events.append,
    )  # fmt: skip
    assert path is not None
    losses = [each.data["valid_loss"] for each in events if "valid_loss" in each.data]
    assert losses
    assert min(losses) > 0.1
