"""bpe, unigram and word: nothing is lost, whatever the text and whatever was learnt."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training_files import TEXT as TRAINING_TEXT
from tests.unit.training_files import Listener, small, text_file
from textgen.bundles.bundle import load_bundle
from textgen.corpus.encode import encode_corpus
from textgen.engine.generation import generate
from textgen.errors import InvalidBundle, InvalidInput, InvalidOption
from textgen.options import PIECE_TOKENIZERS, Hyperparameters, SamplingOptions, TokenizerName
from textgen.tokenizers import TOKENIZERS, Tokenizer, load_tokenizer
from textgen.tokenizers.pieces import FIRST, Sample, default_vocab_size
from textgen.training.train import train_files

REPO = Path(__file__).resolve().parents[2]
TEXT = "The cat's hat, the mat.\nनमस्ते दुनिया 我是一名程序员，你是一名老师。🙂\r\n  don't 2024\n" * 60


def learnt(name: TokenizerName, text: str = TEXT, size: int | None = 400) -> Tokenizer:
    learner = TOKENIZERS[name].learner(size)
    learner.add(text)
    return learner.finish()


MADE = {name: learnt(name) for name in PIECE_TOKENIZERS}
each = pytest.mark.parametrize("name", PIECE_TOKENIZERS)
# Characters and pieces that such tokenizers are known to lose, among any others
ODD = [
    "\r", "\r\n", "\0", "\u2581", "▁the", "\ufeff", "\u0301", "e\u0301\u0323", "\u200d", "👩‍👩‍👧",
    "  ", "\t\n ", "\u3000", "<unk>", "<0x41>", "</s>", "<|endoftext|>", "[UNK]", "Ġ", "Ċ", "ﬁ",
    "the", "The cat", "我是", "中", "\U0010ffff", "\ufffd", "K",
]  # fmt: skip
texts = st.lists(st.sampled_from(ODD) | st.text(max_size=20), max_size=12).map("".join)


@each
@given(text=texts)
def test_every_text_comes_back(name: TokenizerName, text: str) -> None:
    tokenizer = MADE[name]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.end_id not in ids
    assert not tokenizer.count_unknown(text)


@each
@given(data=st.data())
def test_a_stream_gives_whole_characters_and_the_same_text(
    name: TokenizerName, data: st.DataObject
) -> None:
    tokenizer = MADE[name]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    decoder = tokenizer.decoder()
    assert "".join([*map(decoder.push, ids), decoder.finish()]) == tokenizer.decode(ids)
    text, came = data.draw(texts), ""
    decoder = tokenizer.decoder()
    for token in tokenizer.encode(text).tolist():
        came += decoder.push(token)
        assert text.startswith(came)
    assert came + decoder.finish() == text


@each
@given(documents=st.lists(texts, max_size=5))
def test_documents_are_each_followed_by_the_end(name: TokenizerName, documents: list[str]) -> None:
    tokenizer = MADE[name]
    expected = [
        token for text in documents for token in [*tokenizer.encode(text), tokenizer.end_id]
    ]
    assert tokenizer.encode_documents(documents).tolist() == expected


@each
def test_half_a_surrogate_pair_is_refused(name: TokenizerName) -> None:
    for encode in (MADE[name].encode, lambda text: MADE[name].encode_documents(["ok", text])):
        with pytest.raises(InvalidInput, match=r"U\+D800.* at character 2"):
            encode("ab\ud800")


@each
@given(text=texts)
def test_what_is_in_no_whole_token_is_counted(name: TokenizerName, text: str) -> None:
    tokenizer = MADE[name]
    ids, whole = tokenizer.encode(text).tolist(), 0
    for token in ids:
        shown = tokenizer.token_text(token)
        if not shown.startswith("bytes:"):
            whole += len(shown)
            continue
        # characters that are whole within a token that also has parts of others
        data = bytes.fromhex(shown.removeprefix("bytes:").replace("\\x", ""))
        while data and 0x80 <= data[0] < 0xC0:
            data = data[1:]
        whole += len(data.decode("utf-8", "ignore"))
    assert tokenizer.count_spelt(tokenizer.encode(text)) == len(text) - whole


@each
def test_it_comes_back_from_json(name: TokenizerName) -> None:
    data = json.loads(json.dumps(MADE[name].to_dict()))
    loaded = load_tokenizer(data)
    assert loaded.to_dict() == data
    assert loaded.vocab_size == MADE[name].vocab_size
    for text in (TEXT, *ODD):
        assert loaded.encode(text).tolist() == MADE[name].encode(text).tolist()


@each
def test_tokens_are_longer_than_characters(name: TokenizerName) -> None:
    tokenizer = MADE[name]
    assert FIRST < tokenizer.vocab_size <= 400
    assert len(tokenizer.encode(TEXT)) < len(TEXT)
    assert tokenizer.token_text(0xE4) == "bytes:\\xe4"
    assert tokenizer.token_text(tokenizer.end_id) == ""
    assert tokenizer.encode("\n").tolist() == [10]  # an empty prompt begins after it


def test_words_are_found() -> None:
    def shown(name: TokenizerName, text: str) -> list[str]:
        return [MADE[name].token_text(token) for token in MADE[name].encode(text).tolist()]

    assert shown("word", "The cat, दुनिया x") == ["The", " ", "cat", ",", " ", "दुनिया", " ", "x"]
    assert shown("bpe", "The cat") == ["The", " cat"]


def test_chinese_words_are_found_without_spaces() -> None:
    words, rng = ["程序员", "老师", "学生", "喜欢", "音乐", "电影"], random.Random(5)
    clauses = ["".join(rng.choices(words, k=rng.randint(3, 7))) for _ in range(400)]
    tokenizer = learnt("unigram", "，".join(clauses), 300)
    found = [tokenizer.token_text(token) for token in tokenizer.encode("老师喜欢程序员")]
    assert len(found) <= 3
    assert {"程序员", "喜欢"} & {tokenizer.token_text(t) for t in range(FIRST, 300)}


@each
def test_learning_is_the_same_in_every_process(name: TokenizerName) -> None:
    code = (
        "import json, sys; from textgen.tokenizers import TOKENIZERS; "
        f"learner = TOKENIZERS[{name!r}].learner(330); learner.add(sys.stdin.read()); "
        "print(json.dumps(learner.finish().to_dict()))"
    )
    program = [sys.executable, "-c", code]
    for _ in range(2):
        found = subprocess.run(
            program,
            cwd=REPO,
            input=TRAINING_TEXT,
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        assert json.loads(found.stdout) == learnt(name, TRAINING_TEXT, 330).to_dict()


@each
@pytest.mark.parametrize("text", ["", "a", "\0\0", "ab" * 40, "🙂"])
def test_next_to_nothing_is_enough_to_learn_from(name: TokenizerName, text: str) -> None:
    tokenizer = learnt(name, text, None)
    assert tokenizer.decode(tokenizer.encode(text + TEXT)) == text + TEXT


@each
def test_no_piece_goes_over_the_end_of_a_document(name: TokenizerName) -> None:
    learner = TOKENIZERS[name].learner(400)
    learner.add_documents(["one", "two"] * 50)
    tokenizer = learner.finish()
    assert not any("et" in tokenizer.token_text(token) for token in range(tokenizer.vocab_size))


@each
def test_a_header_is_read_without_the_library(name: TokenizerName) -> None:
    code = (
        "import sys, json; from textgen.tokenizers import load_tokenizer as load; "
        "load(json.load(sys.stdin)); sys.exit('tokenizers' in sys.modules)"
    )
    given_in = json.dumps(MADE[name].to_dict())
    program = [sys.executable, "-c", code]
    assert subprocess.run(program, cwd=REPO, input=given_in, text=True, check=False).returncode == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {"name": st.sampled_from(PIECE_TOKENIZERS)},
        optional={
            "pieces": json_values | st.lists(st.text(max_size=3), max_size=3),
            "scores": json_values | st.lists(st.floats(), max_size=3),
            "merges": json_values | st.lists(st.lists(st.integers(-2, 300), max_size=3)),
            "more": json_values,
        },
    )
)
def test_bad_descriptions_are_refused_with_the_declared_error(data: dict[str, object]) -> None:
    try:
        tokenizer = load_tokenizer(data)
    except InvalidBundle:
        return
    assert tokenizer.to_dict() == data
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


@pytest.mark.parametrize(
    "data",
    [
        {"name": "bpe", "merges": [[256, 97]]},
        {"name": "bpe", "merges": [[97, 257]]},
        {"name": "bpe", "merges": [[-1, 97]]},
        {"name": "bpe", "merges": [[True, 97]]},
        {"name": "bpe", "merges": [[97, 97], [97, 97]]},
        {"name": "bpe", "merges": [[97, 97], *([index, index] for index in range(257, 300))]},
        {"name": "word", "pieces": ["ab", "ab"]},
        {"name": "word", "pieces": ["a"]},
        {"name": "word", "pieces": ["\ud800"]},
        {"name": "word", "pieces": [str(number) for number in range(10, 70_000)]},
        {"name": "unigram", "pieces": ["ab"], "scores": [float("nan")]},
        {"name": "unigram", "pieces": ["ab"], "scores": [0.5]},
        {"name": "unigram", "pieces": ["ab"], "scores": []},
        {"name": "unigram", "pieces": ["a\0"], "scores": [-1.0]},
    ],
)
def test_vocabularies_that_cannot_be_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(InvalidBundle):
        load_tokenizer(data)


@each
def test_a_vocabulary_too_small_for_bytes_is_refused(name: TokenizerName) -> None:
    with pytest.raises(InvalidOption, match=rf"'vocab_size' is 100: .*{name} needs 300") as caught:
        Hyperparameters.parse({"tokenizer": name, "vocab_size": 100})
    assert caught.value.param == "vocab_size"


@each
def test_a_text_too_small_for_the_vocabulary_gets_a_smaller_one(
    name: TokenizerName, tmp_path: Path
) -> None:
    events = Listener()
    wanted = Hyperparameters(tokenizer=name, vocab_size=9000)
    corpus = encode_corpus([text_file(tmp_path)], wanted, tmp_path / "out", on_event=events)
    (told,) = [event for event in events.all("choice") if event["option"] == "vocab_size"]
    assert told["value"] == corpus.tokenizer.vocab_size < 9000
    assert "not 9,000" in told["reason"]


def test_only_the_training_part_is_learnt_from(tmp_path: Path) -> None:
    text = "seen " * 90 + "held " * 10
    for name in PIECE_TOKENIZERS:
        wanted = Hyperparameters(tokenizer=name)
        corpus = encode_corpus([text_file(tmp_path, text)], wanted, tmp_path / name)
        assert len(corpus.tokenizer.encode("seen")) < len(corpus.tokenizer.encode("held"))


def test_a_sample_is_bounded_and_from_everywhere() -> None:
    sample = Sample(100_000)
    for number in range(5000):
        sample.add(f"{number:05d}" * 20)
    assert 50_000 < sum(map(len, sample.texts)) <= 100_000
    steps = {int(b[:5]) - int(a[:5]) for a, b in zip(sample.texts, sample.texts[1:], strict=False)}
    assert len(steps) == 1


def test_the_default_vocabulary_grows_with_the_text() -> None:
    sizes = [default_vocab_size(size, 0) for size in (0, 1_000_000, 10**9)]
    assert sizes == [512, 2000, 8192]
    assert default_vocab_size(1000, 3000) > 4000


@each
def test_a_model_is_trained_stored_and_writes(name: TokenizerName, tmp_path: Path) -> None:
    events = Listener()
    result = train_files(
        [text_file(tmp_path)],
        folder=tmp_path / "work",
        hyperparameters=small(tokenizer=name),
        on_event=events,
    )
    assert result is not None
    bundle = load_bundle(result)
    assert bundle.header.tokenizer["name"] == name
    (corpus,) = events.all("corpus")
    assert corpus["tokens"] < corpus["characters"]
    assert corpus["unknown"] == 0
    bits, loss = (bundle.header.metrics[f"valid_{key}"] for key in ("bits_per_character", "loss"))
    valid = corpus["splits"]["valid"]
    assert bits is not None and loss is not None
    assert bits == pytest.approx(loss * valid["tokens"] / valid["characters"] / 0.693147, rel=1e-3)
    (completion,) = generate(bundle, ["the cat 我"], SamplingOptions(max_tokens=40), seed=1)
    assert completion.completion_tokens == 40
    assert completion.text
