"""Unicode normal forms: the same whether a text comes whole or in pieces, and kept in the model."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training_files import Listener, outcome, same_weights, small, text_file
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidBundle, InvalidOption
from textgen.options import Hyperparameters, Normalization
from textgen.tokenizers import (
    TOKENIZERS,
    CharTokenizer,
    NormalizedTokenizer,
    load_tokenizer,
    with_marks,
    with_normalization,
)
from textgen.tokenizers.normalized import normalized, normalized_pieces
from textgen.tokenizers.widening import widened
from textgen.training.train import train_files

FORMS: tuple[Normalization, ...] = ("nfc", "nfkc")
# What combines, reorders or expands in one form or another
ODD = [
    "e\u0301", "\u0301", "\u0327", "\u00e9", "\u1100", "\u1161", "\u11a8", "\uac00", "\uff76",
    "\uff9e", "\u304b", "\u3099", "\ufb01", "\u2460", "\u212b", "\u0344", "\u0f73", "\u09c7",
    "\u09be", "\u00bd", "\u3000", "我", "a", "\n", " ", "\u2126", "\ufdfa", "\U0001d15e", "\u1e9b",
]  # fmt: skip
texts = st.lists(st.sampled_from(ODD) | st.text(max_size=5), max_size=30).map("".join)
forms = st.sampled_from(FORMS)


@given(texts, forms)
def test_it_is_unicodes_form(text: str, form: Normalization) -> None:
    assert normalized(text, form) == unicodedata.normalize(form.upper(), text)
    assert normalized(text, "none") == text


@given(texts, forms, st.data())
def test_pieces_give_the_same_as_the_whole(
    text: str, form: Normalization, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(normalized_pieces(filter(None, pieces), form)) == normalized(text, form)


def test_very_many_marks_do_not_hold_it_up() -> None:
    hostile = "a" + "\u0301\u0327" * 500_000  # half an hour where all of it is sorted at once
    assert len(hostile) * 9 // 10 < len(normalized(hostile, "nfc")) <= len(hostile)
    assert sum(map(len, normalized_pieces([hostile, hostile], "nfc"))) > len(hostile)


def test_what_is_stored_reads_prompts_as_the_training_was_read() -> None:
    learnt = with_marks(with_normalization(CharTokenizer("éa"), "nfc"), ["answer"])
    loaded = load_tokenizer(json.loads(json.dumps(learnt.to_dict())))
    assert loaded.normalization == "nfc"
    assert loaded.special_ids["answer"] == loaded.vocab_size - 1
    assert loaded.decode(loaded.encode("e\u0301a")) == "éa"
    assert loaded.encode_documents(["e\u0301"]).tolist() == [*loaded.encode("é"), loaded.end_id]
    assert not loaded.count_unknown("e\u0301")
    assert loaded.count_unknown("x")["x"] == 1
    decoder = loaded.decoder()
    assert "".join(map(decoder.push, loaded.encode("ae\u0301").tolist())) == "aé"


def test_no_form_is_no_wrapper_and_a_wrong_one_is_refused() -> None:
    plain = CharTokenizer("ab")
    assert with_normalization(plain, "none") is plain
    assert "normalization" not in plain.to_dict()
    for wrong in ("nfd", 3, None, ["nfc"]):
        with pytest.raises(InvalidBundle, match="none, nfc, nfkc"):
            load_tokenizer({**plain.to_dict(), "normalization": wrong})


def test_a_wider_vocabulary_keeps_the_form() -> None:
    wider = widened(with_normalization(CharTokenizer("ab"), "nfkc"), CharTokenizer("bc"))
    assert isinstance(wider, NormalizedTokenizer)
    assert wider.normalization == "nfkc"
    assert wider.decode(wider.encode("abc")) == "abc"


@pytest.mark.parametrize("name", list(TOKENIZERS))
@pytest.mark.parametrize("form", FORMS)
def test_a_corpus_is_learnt_in_its_form(tmp_path: Path, name: str, form: Normalization) -> None:
    text = "cafe\u0301 ﬁne ①②③ ガギ " * 40
    source = text_file(tmp_path, text)
    options = {"tokenizer": name, "normalization": form, "validation_fraction": 0.1}
    corpus = encode_corpus([source], Hyperparameters.parse(options), tmp_path / "out")
    expected = unicodedata.normalize(form.upper(), text)
    parts = [corpus.tokenizer.decode(corpus.tokens(part)) for part in ("train", "valid")]
    assert "".join(parts) == expected
    assert corpus.as_dict()["normalization"] == form
    again = encode_corpus([source], Hyperparameters.parse(options), tmp_path / "out")
    assert (again.sha256, again.tokenizer.to_dict()) == (
        corpus.sha256,
        corpus.tokenizer.to_dict(),
    )


def test_going_on_keeps_the_form_and_refuses_another(tmp_path: Path) -> None:
    source = text_file(tmp_path, "cafe\u0301 au lait. " * 60)
    base = train_files(
        [source], folder=tmp_path / "a", preset="lstm-tiny", threads=1,
        hyperparameters=small(normalization="nfc", max_steps=4),
    )  # fmt: skip
    assert base is not None
    further = {"max_steps": 3, "batch_size": 4, "sequence_length": 16}
    second = train_files(
        [source], folder=tmp_path / "b", base=base, threads=1,
        hyperparameters=Hyperparameters.parse(further),
    )  # fmt: skip
    assert second is not None
    assert outcome(second)[0].tokenizer.normalization == "nfc"
    with pytest.raises(InvalidOption, match="normalization"):
        train_files(
            [source], folder=tmp_path / "c", base=base, threads=1,
            hyperparameters=Hyperparameters.parse({**further, "normalization": "nfkc"}),
        )  # fmt: skip


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    rows = "".join(
        f"cafe\u0301 number {n % 37} of {n}, mail a{n}@example.org\n" for n in range(200)
    )
    options = small(
        format="lines",
        normalization="nfc",
        deduplicate="near",
        mask_personal_data=True,
        max_steps=30,
    )

    def train(number: int, folder: str, **more: Any) -> Path | None:
        source = text_file(tmp_path / str(number), rows)
        return train_files(
            [Source(source.path, format="lines")],
            folder=tmp_path / folder,
            preset="lstm-tiny",
            hyperparameters=options,
            threads=1,
            **more,
        )

    first, told, polls = Listener(), Listener(), iter([False] * 11 + [True] * 1000)
    whole = train(1, "whole", on_event=first)
    plan = first.plan  # measured once: the machine may be faster by another kernel next time
    assert train(2, "cut", plan=plan, on_event=told, should_stop=lambda: next(polls)) is None
    checkpoint = Path(told.all("checkpoint")[-1]["path"])
    resumed = train(2, "elsewhere", plan=plan, resume=checkpoint)
    assert whole is not None
    assert resumed is not None
    assert same_weights(outcome(whole)[0], outcome(resumed)[0])
