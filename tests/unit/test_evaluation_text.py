"""What is measured: read, split and encoded as in training; samples and pieces to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_models import ALPHABET, BundleMaker
from tests.unit.training_files import TEXT
from textgen.bundles.bundle import Bundle, BundleHeader
from textgen.corpus.documents import conversation, prompt_and_completion
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidCorpus
from textgen.evaluation import tasks
from textgen.evaluation.context_length import loss_by_context
from textgen.evaluation.prediction import predicted, worst
from textgen.evaluation.samples import alike, diversity, draw, limited, prompts_for
from textgen.evaluation.scoring import score_documents, score_rows
from textgen.evaluation.text import MeasuredText, encode_text
from textgen.evaluation.token_scores import TokenScores, score_tokens
from textgen.evaluation.training_text import TrainingText
from textgen.objectives import OBJECTIVES, Passages, marks_of
from textgen.options import Hyperparameters, SamplingOptions
from textgen.tokenizers import ByteTokenizer, CharTokenizer, with_marks

LINES = [f"{TEXT[i * 17 : i * 17 + 25]} {i}" for i in range(90)]
LINES += [f"{TEXT[i * 23 : i * 23 + 60]} ﬁ {i}@example.org" for i in range(20)]
CLEANED = {"normalization": "nfkc", "mask_personal_data": True}
FILES = {
    "text.txt": TEXT + "\n".join(LINES),
    "rows.jsonl": "".join(json.dumps({"text": line}) + "\n" for line in [*LINES, *LINES[:9]]),
    "labelled.jsonl": "".join(
        json.dumps({"text": line, "label": str(n % 3)}) + "\n"
        for n, line in enumerate([*LINES, *LINES[:10]])
    ),
    "asked.jsonl": "".join(
        json.dumps({"prompt": line[:9], "completion": line[9:]}) + "\n" for line in LINES
    ),
}


@pytest.mark.parametrize("name", list(FILES))
@pytest.mark.parametrize(("valid", "test"), [(0.1, 0.0), (0.2, 0.3), (0.0, 0.1)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shuffle": False},
        {"seed": 5, "deduplicate": "exact"},
        {**CLEANED, "deduplicate": "near"},
        {**CLEANED, "shuffle": False},
    ],
)
def test_the_bundle_tells_what_was_held_out(
    make_bundle: BundleMaker,
    tmp_path: Path,
    name: str,
    valid: float,
    test: float,
    changes: dict[str, Any],
) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8")
    fractions = {"validation_fraction": valid, "test_fraction": test}
    if name == "text.txt":
        changes = {key: value for key, value in changes.items() if key != "deduplicate"}
    wanted = Hyperparameters.parse({**changes, **fractions})
    corpus = encode_corpus([Source(path)], wanted, tmp_path / "corpus")
    header = make_bundle().header.model_copy(
        update={"corpus": corpus.as_dict(), "documents": corpus.documents, "rows": corpus.kind}
    )
    training = TrainingText([Source(path)], header)

    def ids(documents: object) -> list[int]:
        text = encode_text(
            documents,  # type: ignore[arg-type]
            corpus.tokenizer,
            separate=corpus.documents,
            limit=100_000,
        )
        counted = corpus.counted(part)
        if counted is not None:
            assert text.counted.tolist() == counted.tolist()
        return text.ids.tolist()

    part = "train"
    assert ids(training.learnt()) == corpus.tokens("train").tolist()
    if valid:
        part = "valid"
        assert ids(training.held_out()) == corpus.tokens("valid").tolist()
    else:
        with pytest.raises(InvalidCorpus, match="nothing was held out"):
            training.held_out()


def header_for(made: BundleHeader, **changes: object) -> BundleHeader:
    return made.model_copy(update=changes)


def test_the_model_says_how_a_file_is_read(make_bundle: BundleMaker, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.jsonl").write_text('{"text": "three"}\n{"text": "four"}\n')
    sources = [Source(tmp_path / "a.txt"), Source(tmp_path / "b.jsonl")]
    made = make_bundle().header
    lines = TrainingText(sources, header_for(made, documents=True)).learnt()
    assert list(lines) == ["one", "two", "three", "four"]
    text = TrainingText(sources, header_for(made, documents=False)).learnt()
    assert "".join(map(str, text)) == "one\ntwo\nthree\nfour\n"


TOKENIZER = with_marks(CharTokenizer(ALPHABET), ["answer"])


def asked(*rows: tuple[str, str]) -> list:
    return [prompt_and_completion(prompt, completion) for prompt, completion in rows]


def encoded(documents: list, limit: int = 1000) -> MeasuredText:
    return encode_text(documents, TOKENIZER, separate=True, limit=limit)


def test_only_completions_count_and_the_cut_is_told() -> None:
    text = encoded(asked(("ab", "cde"), ("f", "gh")))
    assert text.said == ("cde", "gh")
    assert text.starts.tolist() == [1, 8]  # end, a, b, mark, c, d, e, end | f, mark, g, h, end
    assert text.counted.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1]
    assert (text.tokens(), text.text, text.left_out) == (7, "cdegh", 0)
    cut = encoded(asked(("ab", "cde"), ("f", "gh"), ("ij", "k")), limit=6)
    assert (cut.said, cut.left_out, cut.ids.size) == (("cd",), 7, 6)
    assert cut.first_documents(1) == ([], 1)
    assert text.first_documents(3) == (["cde"], 8)
    assert text.first_documents(5) == (["cde", "gh"], 13)


def test_a_text_without_anything_to_predict_is_refused() -> None:
    with pytest.raises(InvalidCorpus, match="at least 2 are needed"):
        encode_text(["a"], TOKENIZER, separate=False, limit=100)


def scores_for(text: MeasuredText, nats: list[float], ranks: list[int]) -> TokenScores:
    places = 1 + np.flatnonzero(text.counted[1:])
    return TokenScores(
        places, np.array(nats, np.float32), np.array(ranks, np.int32), np.ones(len(nats))
    )


def test_figures_of_prediction_by_hand() -> None:
    text = encoded(asked(("ab", "cde"), ("f", "我h")))
    scores = scores_for(text, [1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 5, 0, 0, 9])
    found = predicted(text, scores, (1, 2, 6))
    assert found.loss == 4
    assert found.perplexity == pytest.approx(np.exp(4))
    assert found.bits_per_character == pytest.approx(28 / np.log(2) / 5)
    assert found.bits_per_byte == pytest.approx(28 / np.log(2) / 7)
    assert found.accuracy == pytest.approx(3 / 7)
    assert found.top_k == pytest.approx({1: 3 / 7, 2: 4 / 7, 6: 6 / 7})
    # places in their documents: 4, 5, 6, 7 and 3, 4, 5
    rows = [(each.first, each.last, each.tokens, each.loss) for each in found.positions]
    assert rows == [(3, 4, 3, pytest.approx(12 / 3)), (5, 8, 4, pytest.approx(16 / 4))]
    hardest = worst(text, scores, TOKENIZER, 5)
    assert [(row.number, row.before, row.text, row.nats) for row in hardest] == [
        (2, "f", "我h", 18),
        (1, "ab", "cde", 10),
    ]
    assert hardest[0].tokens == 3


def test_one_text_has_tenths() -> None:
    text = encode_text(["ab\n", "cd\n\nefghi"], TOKENIZER, separate=False, limit=100)
    nats = [float(i) for i in range(11)]
    found = predicted(text, scores_for(text, nats, [0] * 11), (1,))
    assert [each.tokens for each in found.positions] == [2] + [1] * 9
    assert [each.loss for each in found.positions] == [0.5, *range(2, 11)]


def test_the_rows_of_one_text_are_passages_of_whole_lines() -> None:
    lines = ["a" * 19, "b" * 19, "c" * 39, "\n" * 39, "d" * 299, "e" * 9]
    whole = "".join(f"{line}\n" for line in lines)
    text = encode_text([whole], TOKENIZER, separate=False, limit=1000)
    count = text.tokens()
    nats = [float(whole[1 + i] == "c") + 2.0 * (whole[1 + i] == "e") for i in range(count)]
    rows = worst(text, scores_for(text, nats, [0] * count), TOKENIZER, 9)
    assert [(row.number, row.text, row.nats) for row in rows] == [
        (45, "e" * 9 + "\n", 18.0),
        (3, lines[2] + "\n", 39.0),
        (1, f"{lines[0]}\n{lines[1]}\n", 0.0),
        (36, "\n" * 8 + "d" * 248, 0.0),  # 256 tokens from where 32 blank lines ended
        (44, "d" * 51 + "\n", 0.0),
    ]


def test_documents_are_scored_by_what_counts_each_alone(make_bundle: BundleMaker) -> None:
    made = make_bundle(tokenizer=TOKENIZER, documents=True, spread=4.0)
    bundle = Bundle(header_for(made.header, rows="prompts"), TOKENIZER, made.model)
    documents = asked(("ab", "cde"), ("f" * 200, "gh"), ("", "a"))
    for document, nats in zip(documents, score_documents(bundle, documents), strict=True):
        text = encoded([document])
        alone = score_tokens(bundle.model, text.ids, text.counted, streams=1)
        assert nats == pytest.approx(float(alone.nats.sum()), rel=1e-5)
    plain = make_bundle(documents=True, spread=4.0)
    rows = ["the cat", "", "a"]
    assert list(score_documents(plain, rows)) == [row.nats for row in score_rows(plain, rows)]


def test_loss_by_context_counts_what_counts(make_bundle: BundleMaker) -> None:
    model = make_bundle(spread=4.0).model
    ids = np.random.default_rng(0).integers(0, model.vocab_size, 65).astype(np.uint16)
    counted = np.zeros(65, np.uint8)
    counted[[3, 4, 11, 60]] = 1  # in segments of 8 predictions: places 2, 3, 2, 3
    (few,) = loss_by_context(model, ids, longest=8, counted=counted)
    assert (few.fewest, few.most, few.tokens) == (3, 4, 4)
    one = loss_by_context(model, ids[:9], longest=8, counted=counted[:9])
    other = loss_by_context(model, ids[8:17], longest=8, counted=counted[8:17])
    last = loss_by_context(model, ids[56:65], longest=8, counted=counted[56:65])
    total = 2 * one[0].loss + other[0].loss + last[0].loss
    assert few.loss == pytest.approx(total / 4, rel=1e-5)


def test_samples_differ_and_are_the_same_again(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(spread=2.0)
    options = SamplingOptions(max_tokens=20)
    first = draw(bundle, ["", "a"], 10, options, seed=1)
    assert len(set(first)) == 10
    assert draw(bundle, ["", "a"], 10, options, seed=1) == first
    assert draw(bundle, ["", "a"], 10, options, seed=2) != first
    assert draw(bundle, [""], 1, options, seed=1) == first[:1]


def test_models_that_answer_are_asked_what_the_text_asks() -> None:
    assert prompts_for(encoded(asked(("ab", "c"), ("f", "g"), ("ab", "h"))), 5) == ["ab", "f"]
    assert prompts_for(encode_text(["abc"], TOKENIZER, separate=False, limit=9), 5) == [""]
    marked = with_marks(TOKENIZER, ["system", "user", "assistant"])
    talk = [
        {"role": "system", "content": "be"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes"},
    ]
    dialogue = conversation(talk)
    assert dialogue is not None
    assert prompts_for(encode_text([dialogue], marked, separate=True, limit=99), 5) == ["hi"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_pieces_of_the_text_are_as_long_as_the_samples_and_apart(lengths: list[int]) -> None:
    points = "".join(chr(0x4E00 + i) for i in range(30))
    text = encode_text([points], ByteTokenizer(), separate=False, limit=1000)
    pieces = alike(["x" * length for length in lengths], text)
    if sum(lengths) > 30:
        assert pieces == []
        return
    assert [len(piece) for piece in pieces] == lengths
    joined = "".join(pieces)
    assert len(set(joined)) == len(joined)
    assert all(piece in points for piece in pieces)


def test_of_documents_each_piece_is_the_beginning_of_one() -> None:
    text = encoded(asked(("a", "bcd"), ("e", "fgh"), ("i", "jkl"), ("m", "nop")))
    assert alike(["xx", "yyyyy"], text) == ["bc", "jkl"]
    assert alike(["x"] * 5, text) == []


def test_diversity_has_words_where_there_are_some() -> None:
    units = [(each.unit, each.n) for each in diversity(["the cat sat on the mat"] * 2, [])]
    assert units == [("characters", n) for n in (2, 4, 8)] + [("words", n) for n in (1, 2, 3)]
    spoken = list(diversity(["我是一名程序员"], ["我是一名我是一名"]))
    assert [(each.unit, each.n) for each in spoken] == [("characters", 2), ("characters", 4)]
    assert (spoken[0].distinct, spoken[0].distinct_of_text) == (1.0, 4 / 7)


def test_a_part_of_the_training_text_is_taken_and_the_rest_counted() -> None:
    pieces = ["abc", "de", "fgh"]
    assert limited(pieces, 100, separate=False) == (["abcdefgh"], 0)
    assert limited(pieces, 4, separate=False) == (["abcd"], 4)
    assert limited(pieces, 4, separate=True) == (["abc", "d"], 4)
    assert limited(asked(("ab", "cde"), ("", "f")), 9, separate=True) == (["ab", "cde", "f"], 0)


def test_an_answer_does_not_depend_on_those_beside_it(
    make_bundle: BundleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right answers differ in length, and so do the longest that a model may give."""
    tokenizer = with_marks(CharTokenizer(ALPHABET), marks_of(["infill"]))
    model = make_bundle(tokenizer=tokenizer, spread=3.0).model
    passages = Passages(tokenizer.encode(TEXT), tokenizer, documents=False)
    some = tasks.sample_tasks(OBJECTIVES["infill"](tokenizer), passages, 30)
    alone = [tasks.score_answers(model, [task], tokenizer.end_id) for task in some]
    together = tasks.score_answers(model, some, tokenizer.end_id)
    for name in ("exact", "precision", "recall", "f1"):
        mean = sum(getattr(each, name) for each in alone) / len(alone)
        assert getattr(together, name) == pytest.approx(mean, abs=1e-9)
    metrics = tasks.evaluate_tasks(model, some)
    monkeypatch.setattr(tasks, "_LOGITS", 1)  # one at a time
    assert tasks.evaluate_tasks(model, some).loss == pytest.approx(metrics.loss, rel=1e-5)
