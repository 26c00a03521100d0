import json
import random
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import InvalidBundle, InvalidInput
from textgen.tokenizers import TOKENIZERS, ByteTokenizer, CharTokenizer, Tokenizer, load_tokenizer

any_text = st.text(max_size=200)  # hypothesis leaves half surrogate pairs out
ALPHABET = "abc \n我是一名程序员🙂\U0010ffff"
known_text = st.text(alphabet=ALPHABET, max_size=200)
CHAR = CharTokenizer.train(Counter(ALPHABET))
BYTE = ByteTokenizer()
both = pytest.mark.parametrize("tokenizer", [CHAR, BYTE], ids=["char", "byte"])


def streamed(tokenizer: Tokenizer, ids: list[int]) -> str:
    decoder = tokenizer.decoder()
    return "".join([*map(decoder.push, ids), decoder.finish()])


@given(any_text)
def test_bytes_lose_nothing_of_unicode(text: str) -> None:
    ids = BYTE.encode(text)
    assert ids.dtype == np.uint16
    assert BYTE.decode(ids) == text
    assert BYTE.count_unknown(text) == Counter()


@given(known_text)
def test_characters_lose_nothing_of_their_alphabet(text: str) -> None:
    ids = CHAR.encode(text)
    assert len(ids) == len(text)
    assert CHAR.decode(ids) == text


@given(any_text)
def test_unknown_characters_are_counted_and_shown_as_replacement(text: str) -> None:
    ids = CHAR.encode(text)
    expected = Counter(character for character in text if character not in ALPHABET)
    assert CHAR.count_unknown(text) == expected
    assert np.count_nonzero(ids == CHAR.unknown_id) == expected.total()
    shown = "".join(character if character in ALPHABET else "\ufffd" for character in text)
    assert CHAR.decode(ids) == shown


@both
@given(data=st.data())
def test_a_decoder_gives_the_same_text_and_never_part_of_a_character(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    # Given any ids at all, also such as make no character
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=60))
    assert streamed(tokenizer, ids) == tokenizer.decode(ids)
    # Given a real text: each push gives whole characters of it, so what came is always a prefix
    text = data.draw(known_text)
    decoder, came = tokenizer.decoder(), ""
    for token in tokenizer.encode(text).tolist():
        came += decoder.push(token)
        assert text.startswith(came)
    assert came + decoder.finish() == text


def test_a_character_cut_by_the_end_does_not_go_on_after_it() -> None:
    start, end = "中".encode()[:1], "中".encode()[1:]
    ids = [*start, BYTE.end_id, *end]
    assert "中" not in BYTE.decode(ids)
    assert streamed(BYTE, ids) == BYTE.decode(ids)


@both
@given(texts=st.lists(known_text, max_size=8))
def test_documents_are_each_followed_by_the_end(tokenizer: Tokenizer, texts: list[str]) -> None:
    expected = [
        token for text in texts for token in [*tokenizer.encode(text).tolist(), tokenizer.end_id]
    ]
    assert tokenizer.encode_documents(texts).tolist() == expected


@both
def test_special_ids_have_no_text_and_are_banned(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([tokenizer.end_id]) == ""
    assert tokenizer.token_text(tokenizer.end_id) == ""
    assert tokenizer.end_id in tokenizer.generation_banned(documents=False)
    assert tokenizer.end_id not in tokenizer.generation_banned(documents=True)
    if tokenizer.unknown_id is not None:
        assert tokenizer.unknown_id in tokenizer.generation_banned(documents=True)


@both
def test_half_a_surrogate_pair_is_refused(tokenizer: Tokenizer) -> None:
    for encode in (tokenizer.encode, lambda text: tokenizer.encode_documents(["ok", text])):
        with pytest.raises(InvalidInput, match=r"U\+D800.* at character 2") as caught:
            encode("ab\ud800")
        assert caught.value.code == "lone_surrogate"


@both
@pytest.mark.parametrize("ids", [[-1], [10_000], [0.5], [[0]]])
def test_ids_that_are_none_are_refused(tokenizer: Tokenizer, ids: list[object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        tokenizer.decode(ids)  # type: ignore[arg-type]
    assert caught.value.code == "bad_token"


@both
def test_it_comes_back_from_json(tokenizer: Tokenizer) -> None:
    loaded = load_tokenizer(json.loads(json.dumps(tokenizer.to_dict())))
    assert type(loaded) is type(tokenizer)
    assert loaded.vocab_size == tokenizer.vocab_size
    assert loaded.encode("abc 我").tolist() == tokenizer.encode("abc 我").tolist()
    assert loaded.encode("ж").tolist() == tokenizer.encode("ж").tolist()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["name", "characters", "more"]), json_values)
    | st.builds(lambda value: {"name": "char", "characters": value}, json_values)
)
def test_bad_descriptions_are_refused_with_the_declared_error(data: dict[str, object]) -> None:
    try:
        tokenizer = load_tokenizer(data)
    except InvalidBundle:
        return
    assert tokenizer.to_dict() == data


@pytest.mark.parametrize("characters", ["aa", "a\ud800", 7, None])
def test_bad_alphabets_are_refused(characters: object) -> None:
    with pytest.raises(InvalidBundle):
        load_tokenizer({"name": "char", "characters": characters})


def test_the_alphabet_keeps_the_commonest_characters() -> None:
    tokenizer = CharTokenizer.train({"z": 5, "b": 2, "a": 2, "q": 1}, vocab_size=4)
    assert tokenizer.characters == "az"
    assert tokenizer.vocab_size == 4
    assert tokenizer.token_text(2) == "a"


@given(known_text, st.randoms())
def test_a_learner_does_not_mind_how_the_text_is_cut(text: str, rng: random.Random) -> None:
    learner, rest = CharTokenizer.learner(), text
    while rest:
        cut = rng.randint(1, len(rest))
        learner.add(rest[:cut])
        rest = rest[cut:]
    assert learner.finish().to_dict()["characters"] == "".join(sorted(set(text)))


def test_a_long_text_is_counted_as_a_short_one() -> None:
    learner = CharTokenizer.learner(vocab_size=4)
    learner.add("aaab" * 30_000 + "c")
    assert learner.finish().to_dict()["characters"] == "ab"


def test_large_alphabets_need_wider_ids() -> None:
    many = "".join(map(chr, range(0x10000, 0x10000 + 70_000)))
    tokenizer = CharTokenizer(many)
    assert tokenizer.dtype is np.uint32
    assert tokenizer.decode(tokenizer.encode(many)) == many


def test_parts_of_a_character_are_shown_as_bytes() -> None:
    assert BYTE.token_text(0xE4) == "bytes:\\xe4"
    assert BYTE.token_text(ord("a")) == "a"


def test_the_registry_names_what_it_holds() -> None:
    assert all(tokenizer.name == name for name, tokenizer in TOKENIZERS.items())


def seconds(work: Callable[[], object]) -> float:
    """The fastest of three runs, so that a busy machine does not decide."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def test_encoding_is_vectorised() -> None:
    text = ALPHABET * 100_000
    ids = {character: CHAR.encode(character)[0] for character in ALPHABET}
    one_by_one = seconds(lambda: [ids[character] for character in text])
    assert seconds(lambda: CHAR.encode(text)) * 3 < one_by_one
    assert seconds(lambda: BYTE.encode(text)) * 3 < one_by_one


def test_bytes_spell_every_character_beyond_ascii() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.count_spelt(tokenizer.encode("aé我🙂\n")) == 3
    assert CharTokenizer("a").count_spelt(CharTokenizer("a").encode("我")) == 0
