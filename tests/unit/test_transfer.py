from __future__ import annotations

import torch

from textgen.model import TextGenerator
from textgen.options import ModelOptions
from textgen.tokenizers import BpeTokenizer, ByteTokenizer, CharTokenizer, with_marks
from textgen.tokenizers.widening import widened
from textgen.training.transfer import fitted_to

OPTIONS = ModelOptions(layers=1, hidden_size=16, embedding_size=8)


def make(vocab_size: int, **options: object) -> TextGenerator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        shape = {"layers": 1, "hidden_size": 16, "embedding_size": 8, **options}
        return TextGenerator.from_options(vocab_size, ModelOptions.parse(shape)).eval()


def test_new_characters_come_after_those_that_the_model_knows() -> None:
    old = with_marks(CharTokenizer("ac"), ["gap"])
    wider = widened(old, CharTokenizer("abcd"))
    assert wider.decode(wider.encode("abcd")) == "abcd"
    assert [wider.token_text(token) for token in range(2, 6)] == ["a", "c", "b", "d"]
    assert wider.special_ids["gap"] == 6


def test_a_tokenizer_that_knows_all_is_kept() -> None:
    old = CharTokenizer("abc")
    assert widened(old, CharTokenizer("ab")) is old
    bytes_ = ByteTokenizer()
    assert widened(bytes_, CharTokenizer("ab")) is bytes_


def test_known_symbols_keep_their_weights_whatever_their_ids() -> None:
    old, new = CharTokenizer("ac"), with_marks(CharTokenizer("abcd"), ["gap"])
    model = make(old.vocab_size)
    wider = fitted_to(model, OPTIONS, old, new).eval()
    before = model(torch.from_numpy(old.encode("acca").astype("int64"))[None])[0][0]
    after = wider(torch.from_numpy(new.encode("acca").astype("int64"))[None])[0][0]
    both = [new.special_ids["unknown"], new.end_id, *new.encode("ac").tolist()]
    torch.testing.assert_close(after[:, both], before)
    assert wider.vocab_size == new.vocab_size
    assert wider.output.bias[new.encode("d")[0]] == model.output.bias.min()
    mean = model.embedding.weight.mean(0)
    torch.testing.assert_close(wider.embedding.weight[new.special_ids["gap"]], mean)


def test_tied_weights_stay_tied() -> None:
    options = {"embedding_size": 16, "tie_weights": True}
    model = make(4, **options)
    shape = ModelOptions.parse({"layers": 1, "hidden_size": 16, **options})
    wider = fitted_to(model, shape, CharTokenizer("ab"), CharTokenizer("abc"))
    assert wider.output.weight is wider.embedding.weight
    torch.testing.assert_close(wider.embedding.weight[:4], model.embedding.weight)


def test_the_same_symbols_are_the_same_model() -> None:
    model, tokenizer = make(258), BpeTokenizer([b"ab"])
    assert fitted_to(model, OPTIONS, tokenizer, BpeTokenizer([b"ab"])) is model
