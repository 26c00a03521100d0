"""Files of word vectors: how they are read, and trainings whose embedding begins with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training_files import Listener, outcome, same_weights, small, text_file
from textgen.corpus.word_vectors import WordVectors
from textgen.errors import InvalidCheckpoint, InvalidCorpus, InvalidOption
from textgen.options import Hyperparameters
from textgen.tokenizers import TOKENIZERS, Tokenizer
from textgen.training.train import train_files

TEXT = "The cat sat on a mat. The dog saw the cat, and the cat saw the dog run. 猫坐着。 " * 40
WORDS = ("the", "cat", "dog", "sat", "saw", "run", "mat", "猫", "elephant")


def vector(word: str, size: int = 6) -> list[float]:
    seed = sum(word.encode())
    return [float(f"{value:.4f}") for value in np.random.default_rng(seed).normal(size=size) * 5]


def write(
    folder: Path, words: Sequence[str] = WORDS, *, size: int = 6, head: bool = True, end: str = ""
) -> Path:
    """As word2vec and fastText write, or without the head as GloVe."""
    lines = [f"{len(words)} {size}"] if head else []
    lines += [f"{word} {' '.join(map(str, vector(word, size)))}{end}" for word in words]
    path = folder / "vectors.vec"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def learnt(name: str = "word") -> Tokenizer:
    learner = TOKENIZERS[name].learner(None)
    learner.add(TEXT)
    return learner.finish()


def token(tokenizer: Tokenizer, text: str) -> int:
    (only,) = tokenizer.encode(text).tolist()
    return int(only)


class TestReading:
    """From lines of text to a table."""

    @pytest.mark.parametrize("head", [True, False])
    @pytest.mark.parametrize("end", ["", " "])  # fastText ends its lines with a space
    def test_the_formats_give_each_token_its_words_vector(
        self, tmp_path: Path, head: bool, end: str
    ) -> None:
        tokenizer = learnt()
        file = WordVectors(write(tmp_path, head=head, end=end))
        found = file.of(tokenizer)
        assert (file.size, found.lines) == (6, len(WORDS))
        for word in ("cat", "dog", "猫"):
            row = token(tokenizer, word)
            assert found.found[row]
            assert np.allclose(found.table[row], vector(word))
        assert not found.found[token(tokenizer, "on")]
        assert not found.table[~found.found].any()

    def test_small_letters_stand_in_for_capitals_but_never_before_the_word_itself(
        self, tmp_path: Path
    ) -> None:
        tokenizer = learnt()
        row = token(tokenizer, "The")
        lower = WordVectors(write(tmp_path, ("the",))).of(tokenizer)
        assert np.allclose(lower.table[row], vector("the"))
        for words in (("the", "The"), ("The", "the")):
            both = WordVectors(write(tmp_path, words)).of(tokenizer)
            assert np.allclose(both.table[row], vector("The"))

    def test_pieces_with_a_space_before_them_are_words(self, tmp_path: Path) -> None:
        tokenizer = learnt("bpe")
        found = WordVectors(write(tmp_path)).of(tokenizer)
        spaced = [row for row in np.flatnonzero(found.found) if tokenizer.token_text(row) == " cat"]
        assert len(spaced) == 1
        assert np.allclose(found.table[spaced[0]], vector("cat"))

    def test_words_may_hold_spaces_and_odd_bytes(self, tmp_path: Path) -> None:
        path = write(tmp_path, (". . .", "cat"), head=False)
        path.write_bytes(b"ca\xfft 1 2 3 4 5 6\n" + path.read_bytes())
        found = WordVectors(path).of(learnt())
        assert found.lines == 3
        assert found.found.sum() == 1

    def test_of_a_word_that_comes_twice_the_first_counts(self, tmp_path: Path) -> None:
        path = write(tmp_path, ("cat",), head=False)
        path.write_text(path.read_text() + "cat 9 9 9 9 9 9\n")
        tokenizer = learnt()
        assert np.allclose(
            WordVectors(path).of(tokenizer).table[token(tokenizer, "cat")], vector("cat")
        )

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "line 1: a word and its numbers"),
            (b"word\n", "line 1: a word and its numbers"),
            (b"a 1 2\n", "vectors of 2 numbers; 4 to 4,096"),
            (b"5 99999\n", "vectors of 99,999 numbers"),
            (b"\x1f\x8b\0\0 \0", "no text"),
            (b"x" * 300_000, "no text"),
            (b"2 4\ncat 1 2 3 4\ncat 1 2 3\n", "line 3: 3 numbers where 4"),
            (b"2 4\ncat 1 2 3 4\n", "after 1 of the 2 vectors"),
            (b"1 4\ncat 1 2 three 4\n", "line 2: what stands behind the word"),
            (b"1 4\ncat 1 2 nan 4\n", "line 2: a number is not finite"),
            (b"1 4\ncat 1 2 1e300 4\n", "line 2: a number is not finite"),
        ],
    )
    def test_what_is_no_such_file_is_refused_at_its_line(
        self, tmp_path: Path, content: bytes, said: str
    ) -> None:
        path = tmp_path / "stored"
        path.write_bytes(content)
        with pytest.raises(InvalidCorpus, match=said) as caught:
            WordVectors(path, "mine.vec").of(learnt())
        assert caught.value.code == "invalid_word_vectors"
        assert caught.value.message.startswith("mine.vec, ")


def train(
    folder: Path, vectors: Path | None, options: Mapping[str, object] = {}, **more: Any
) -> Path | None:
    return train_files(
        [text_file(folder, TEXT)],
        folder=folder / "work",
        preset="lstm-tiny",
        hyperparameters=small(embedding_size=None, max_steps=12).model_copy(update=options),
        embeddings=None if vectors is None else WordVectors(vectors),
        device="cpu",
        **more,
    )


def finished(folder: Path, vectors: Path | None, **more: Any) -> Path:
    path = train(folder, vectors, **more)
    assert path is not None
    return path


class TestTraining:
    """A new model that begins with vectors."""

    def test_frozen_vectors_are_in_the_model_all_scaled_alike(self, tmp_path: Path) -> None:
        told = Listener()
        options = {"freeze_embeddings": True}
        path = finished(tmp_path, write(tmp_path), options=options, on_event=told)
        bundle, _ = outcome(path)
        weight = bundle.model.embedding.weight.detach()
        rows = [token(bundle.tokenizer, word) for word in ("cat", "dog", "saw")]
        ratios = weight[rows] / torch.tensor([vector(word) for word in ("cat", "dog", "saw")])
        assert torch.allclose(ratios, ratios[0, 0].expand_as(ratios))
        assert 0.5 < weight[rows].square().mean().sqrt() < 2  # as a new embedding's
        (said,) = told.all("word_vectors")
        assert said["found"] == 9  # of all but the elephant, and of The
        assert 0 < said["vocabulary"] < said["text"] < 1
        chosen = {each["option"]: each["value"] for each in told.all("choice")}
        assert (chosen["tokenizer"], chosen["embedding_size"]) == ("word", 6)

    def test_they_are_trained_where_nobody_freezes_them(self, tmp_path: Path) -> None:
        vectors = write(tmp_path)
        frozen, _ = outcome(finished(tmp_path / "a", vectors, options={"freeze_embeddings": True}))
        trained, _ = outcome(finished(tmp_path / "b", vectors))
        row = token(trained.tokenizer, "cat")
        assert not torch.equal(
            frozen.model.embedding.weight[row], trained.model.embedding.weight[row]
        )
        assert not torch.equal(frozen.model.lstm.weight_hh_l0, trained.model.lstm.weight_hh_l0)

    @pytest.mark.parametrize("frozen", [True, False])
    @pytest.mark.parametrize("stops", [(0,), (1, 7)])
    def test_stops_change_no_bit_also_before_the_first_step(
        self, tmp_path: Path, frozen: bool, stops: tuple[int, ...]
    ) -> None:
        vectors, told = write(tmp_path), Listener()
        options = {"freeze_embeddings": frozen}
        whole, facts = outcome(
            finished(tmp_path / "whole", vectors, options=options, on_event=told)
        )
        resume: Path | None = None
        for stop in stops:
            part = Listener()
            assert train(
                tmp_path / "parts", vectors, options=options, plan=told.plan, resume=resume,
                should_stop=after(stop), on_event=part,
            ) is None  # fmt: skip
            if saved := part.all("checkpoint"):
                resume = Path(saved[-1]["path"])
        parts, facts_in_parts = outcome(
            finished(tmp_path / "parts", vectors, options=options, plan=told.plan, resume=resume)
        )
        assert same_weights(whole, parts)
        assert facts == facts_in_parts
        assert told.plan.embeddings == WordVectors(vectors).sha256()

    def test_a_plan_goes_on_with_its_own_vectors_alone(self, tmp_path: Path) -> None:
        told = Listener()
        finished(tmp_path, write(tmp_path), on_event=told)
        other = write(tmp_path, WORDS[:5])
        with pytest.raises(InvalidCheckpoint, match="other word vectors"):
            train(tmp_path, other, plan=told.plan)

    def test_vectors_of_no_word_of_the_text(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidCorpus, match="none of them is a token") as caught:
            train(tmp_path, write(tmp_path, ("elephant", "éléphant")))
        assert caught.value.code == "no_word_vectors"

    def test_few_words_with_vectors_are_a_warning(self, tmp_path: Path) -> None:
        told = Listener()
        finished(tmp_path, write(tmp_path, ("mat",)), options={"max_steps": 1}, on_event=told)
        (event,) = (each for each in told.events if each.type == "word_vectors")
        assert event.level == "warn"

    @pytest.mark.parametrize(
        ("options", "param"),
        [
            ({"embedding_size": 8}, "embedding_size"),
            ({"vocab_size": 299}, "vocab_size"),
            ({"freeze_embeddings": True, "tie_weights": True}, "tie_weights"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, tmp_path: Path, options: dict[str, object], param: str
    ) -> None:
        with pytest.raises(InvalidOption) as caught:
            train(tmp_path, write(tmp_path), options=options)
        assert caught.value.param == param

    def test_a_model_to_continue_from_keeps_its_own(self, tmp_path: Path) -> None:
        base = finished(tmp_path, None, options={"tokenizer": "word", "embedding_size": 6})
        with pytest.raises(InvalidOption, match="has an embedding already"):
            train(tmp_path, write(tmp_path), base=base)

    def test_nothing_can_be_frozen_without_vectors(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidOption, match="no 'embeddings_file'"):
            train(tmp_path, None, options={"freeze_embeddings": True})

    def test_a_private_training_has_no_words(self, tmp_path: Path) -> None:
        wanted = Hyperparameters.parse({"privacy": 3, "max_steps": 1})
        with pytest.raises(InvalidOption, match="reads bytes"):
            train_files(
                [text_file(tmp_path, TEXT)], folder=tmp_path / "work", hyperparameters=wanted,
                embeddings=WordVectors(write(tmp_path)),
            )  # fmt: skip


def after(count: int) -> Callable[[], bool]:
    asked = iter(range(10**9))
    return lambda: next(asked) >= count
