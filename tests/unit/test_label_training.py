"""Learning labels: what a step reads, resuming, what is told, and going on from other models."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training_files import Listener, outcome, same_weights
from textgen.bundles.bundle import Bundle, load_bundle, save_bundle
from textgen.classification import classify
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.encode import encode_corpus
from textgen.corpus.labelled import LabelledTexts
from textgen.corpus.sources import Source
from textgen.errors import InvalidBundle, InvalidOption
from textgen.options import Hyperparameters
from textgen.training.label_streams import LabelStreams
from textgen.training.planning import make_plan
from textgen.training.replay import OldText
from textgen.training.run import checkpoints
from textgen.training.streams import IGNORED
from textgen.training.train import train_files

SMALL = {"hidden_size": 32, "batch_size": 8, "sequence_length": 24, "max_steps": 60, "seed": 3}


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Texts whose class is that of one word in them."""
    draw = random.Random(seed)
    words = {"warm": ("sun", "fire", "tea"), "cold": ("ice", "snow", "frost")}
    made = []
    for number in range(count):
        label = draw.choice(sorted(words))
        made.append({"text": f"{draw.choice(words[label])} {number:03}", "label": label})
    return made


def write(folder: Path, entries: list[dict[str, str]], name: str = "rows.jsonl") -> Source:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return Source(path)


def corpus_of(folder: Path, entries: list[dict[str, str]]) -> EncodedCorpus:
    options = Hyperparameters(validation_fraction=0)
    return encode_corpus([write(folder, entries)], options, folder / "out")


def train(folder: Path, source: Source, told: Listener | None = None, **more: Any) -> Path | None:
    values = {**SMALL, **more.pop("options", {})}
    return train_files(
        [source],
        folder=folder,
        preset="lstm-tiny",
        hyperparameters=Hyperparameters.parse(values),
        on_event=Listener() if told is None else told,
        **more,
    )


def trained(folder: Path, source: Source, told: Listener | None = None, **more: Any) -> Bundle:
    path = train(folder, source, told, **more)
    assert path is not None
    return load_bundle(path)


def streams_of(corpus: EncodedCorpus, batch: int, length: int, seed: int = 0) -> LabelStreams:
    texts = LabelledTexts(corpus, "train")
    return LabelStreams(texts, corpus.label_ids, batch, length, corpus.tokenizer.end_id, seed)


def windows(streams: LabelStreams, steps: range) -> list[tuple[list[int], list[int], bool]]:
    """The windows of a single reader."""
    batches = [streams.batch(step) for step in steps]
    assert all(batch.fresh is not None for batch in batches)
    return [
        (batch.inputs[0].tolist(), batch.targets[0].tolist(), bool(batch.fresh[0]))  # type: ignore[index]
        for batch in batches
    ]


@pytest.mark.parametrize("length", [7, 24, 200])
def test_an_epoch_reads_every_text_once_whole_with_its_label_behind(
    tmp_path: Path, length: int
) -> None:
    entries = [*rows(50), {"text": "long " * 30, "label": "cold"}]
    corpus = corpus_of(tmp_path, entries)
    streams = streams_of(corpus, 1, length)
    answer, end = corpus.tokenizer.special_ids["answer"], corpus.tokenizer.end_id
    orders = []
    for epoch in range(2):
        steps = streams._total  # windows in an epoch
        read: list[int] = []
        seen: set[int] = set()
        found: list[tuple[str, str]] = []
        for ids, targets, fresh in windows(streams, range(epoch * steps, (epoch + 1) * steps)):
            if fresh:
                read, seen = [], set()  # a state of zeros remembers nothing
            for token, target in zip(ids, targets, strict=True):
                if target == IGNORED:
                    assert (token, read) == (end, [])  # what fills a block up
                    continue
                read.append(token)
                seen.add(target)
                if token == answer:
                    assert read[0] == end
                    (label,) = (corpus.labels[corpus.label_ids.index(each)] for each in seen)
                    found.append((corpus.tokenizer.decode(read), label))
                    read, seen = [], set()
        assert Counter(found) == Counter((each["text"], each["label"]) for each in entries)
        orders.append(found)
    assert orders[0] != orders[1]


def test_epochs_are_passes_over_the_texts_though_they_fill_no_window(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, rows(200))
    values = {
        **SMALL,
        "max_steps": None,
        "n_epochs": 2,
        "batch_size": 4,
        "objectives": ["classify"],
    }
    plan = make_plan(
        corpus, "lstm-tiny", Hyperparameters.parse(values), device=torch.device("cpu"), threads=1,
        on_event=Listener(),
    )  # fmt: skip
    streams = streams_of(corpus, 4, plan.sequence_length)
    windows_read = 4 * plan.total_steps
    assert windows_read >= 2 * streams._total > windows_read - 4
    assert plan.total_steps > 2 * corpus.tokens("train").size / (4 * plan.sequence_length)


def test_what_a_step_reads_follows_from_the_step_alone(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [*rows(40), {"text": "long " * 30, "label": "cold"}])
    whole, later = streams_of(corpus, 4, 16), streams_of(corpus, 4, 16)
    kept = [whole.batch(step) for step in range(120)]
    for step in (119, 3, 64, 65):
        found = later.batch(step)
        assert torch.equal(found.inputs, kept[step].inputs)
        assert torch.equal(found.targets, kept[step].targets)
        assert torch.equal(found.fresh, kept[step].fresh)  # type: ignore[arg-type]
    other = streams_of(corpus, 4, 16, seed=1)
    assert not torch.equal(other.batch(0).inputs, kept[0].inputs)


def test_a_file_sorted_by_label_is_read_in_no_such_order(tmp_path: Path) -> None:
    entries = sorted(rows(200), key=lambda row: row["label"])
    corpus = corpus_of(tmp_path, entries)
    streams = streams_of(corpus, 1, 24)
    targets = [t for _, part, _ in windows(streams, range(60)) for t in part if t != IGNORED]
    changes = sum(a != b for a, b in pairwise(targets))
    assert changes > len(targets) // 9 // 4  # a text has nine places


def test_labelled_rows_are_learnt_and_told_of(tmp_path: Path) -> None:
    told = Listener()
    bundle = trained(tmp_path, write(tmp_path, rows(400)), told, options={"max_steps": 200})
    header = bundle.header
    assert (header.objectives, header.rows, header.labels) == (
        ("classify",), "labels", ("cold", "warm"),
    )  # fmt: skip
    chosen = {event["option"]: event["value"] for event in told.all("choice")}
    assert chosen["objectives"] == "classify"
    last = told.all("metrics")[-1]
    for name in ("accuracy", "precision", "recall", "f1", "weighted_f1", "calibration_error"):
        assert last[f"full_valid_{name}"] == header.metrics[f"full_valid_{name}"]
    assert header.metrics["full_valid_f1"] > 0.95
    assert header.metrics["full_valid_loss"] == header.metrics["full_valid_classify_loss"]
    assert any("valid_f1" in each and "full_valid_f1" not in each for each in told.all("metrics"))
    assert header.classification == last["classification"]
    assert header.classification["texts"] == header.corpus["splits"]["valid"]["documents"]
    assert not told.all("sample")
    assert [each.label for each in classify(bundle, ["sun 900", "frost 901"])] == ["warm", "cold"]


@pytest.mark.parametrize("objectives", ["classify", {"classify": 2, "causal": 1, "infill": 1}])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Path, objectives: Any) -> None:
    told = Listener()
    source = write(tmp_path, [*rows(120), {"text": "long " * 30, "label": "cold"}])
    options = {"objectives": objectives, "test_fraction": 0.1}
    path = train(tmp_path / "whole", source, told, options=options)
    assert path is not None
    whole, facts = outcome(path)
    done, resume, told_in_parts = None, None, []
    stops = iter((7, 20, 11, 10**6))
    while done is None:
        asked, stop, part = iter(range(10**6)), next(stops), Listener()
        done = train(
            tmp_path / "parts", source, part, options=options, plan=told.plan, resume=resume,
            should_stop=lambda asked=asked, stop=stop: next(asked) >= stop,
        )  # fmt: skip
        told_in_parts += part.measurements()
        resume = checkpoints(tmp_path / "parts" / "checkpoints")[-1]
    parts, facts_in_parts = outcome(done)
    assert same_weights(whole, parts)
    assert facts == facts_in_parts
    assert told_in_parts == told.measurements()


def test_a_resumed_training_needs_no_word_of_what_was_chosen(tmp_path: Path) -> None:
    """Where the plan says that labels are learnt, the options may leave it open, as they did."""
    told = Listener()
    source = write(tmp_path, rows(120))
    asked = iter(range(10**6))
    stop = {"should_stop": lambda: next(asked) >= 20}
    assert train(tmp_path / "work", source, told, **stop) is None
    resume = checkpoints(tmp_path / "work" / "checkpoints")[-1]
    bundle = trained(tmp_path / "work", source, plan=told.plan, resume=resume)
    assert bundle.header.labels == ("cold", "warm")


def test_a_language_model_learns_labels_and_may_keep_its_text(tmp_path: Path) -> None:
    texts = [{"text": row["text"]} for row in rows(300)]
    base = train(tmp_path / "base", write(tmp_path / "base", texts))
    assert base is not None
    source = write(tmp_path, rows(300, seed=1))
    for objectives in ("classify", "classify,causal"):
        folder, told = tmp_path / objectives, Listener()
        bundle = trained(
            folder, source, told, base=base, options={"objectives": objectives, "max_steps": 150}
        )
        before = load_bundle(base).tokenizer.special_ids
        assert {name: bundle.tokenizer.special_ids[name] for name in before} == dict(before)
        assert bundle.header.metrics["full_valid_f1"] > 0.9
        assert ("full_valid_bits_per_character" in bundle.header.metrics) == (
            "causal" in objectives
        )
    further = trained(
        tmp_path / "further", write(tmp_path / "further", texts), base=folder / "model.safetensors"
    )
    assert further.header.labels == ()


def test_an_old_text_is_kept_without_its_labels(tmp_path: Path) -> None:
    texts = [{"text": row["text"]} for row in rows(200)]
    base = train(tmp_path / "base", write(tmp_path / "base", texts))
    source = write(tmp_path, rows(200, seed=1))
    old = OldText([write(tmp_path, rows(150), "old.jsonl")])
    told = Listener()
    options = {"objectives": {"classify": 1, "causal": 1}}
    bundle = trained(tmp_path / "on", source, told, base=base, replay=old, options=options)
    last = next(each for each in told.all("metrics") if "valid_loss" in each)
    losses = {name for name in last if name.startswith("train_") and name.endswith("_loss")}
    assert losses == {"train_loss", "train_classify_loss", "train_causal_loss", "train_replay_loss"}
    assert last["train_loss"] == pytest.approx(
        0.4 * (last["train_classify_loss"] + last["train_causal_loss"])
        + 0.2 * last["train_replay_loss"]
    )
    assert bundle.header.labels == ("cold", "warm")
    with pytest.raises(InvalidOption, match="labels cannot be kept"):
        train(tmp_path / "alone", source, base=base, replay=old)


def test_several_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Rows of both kinds, some of which begin a block, on both sides of the border."""
    options = {
        "objectives": {"classify": 2, "causal": 1}, "batch_size": 5, "max_steps": 30,
        "precision": "float32", "workers": 2,
    }  # fmt: skip
    source = write(tmp_path, rows(120))
    together, alone = Listener(), Listener()
    first = trained(tmp_path / "two", source, together, options=options, threads=2, device="cpu")
    plan = together.plan.model_copy(update={"workers": 1})
    options["workers"] = None
    second = trained(tmp_path / "one", source, alone, options=options, plan=plan, device="cpu")
    assert together.plan.workers == 2
    for name, value in second.model.state_dict().items():
        torch.testing.assert_close(
            first.model.state_dict()[name], value, atol=1e-4, rtol=1e-3, msg=name
        )
    last = [each.all("metrics")[-1]["train_classify_loss"] for each in (together, alone)]
    assert last[0] == pytest.approx(last[1], abs=2e-5)


def test_a_private_training_reads_labelled_rows_as_texts(tmp_path: Path) -> None:
    wanted = Hyperparameters.parse({"privacy": {"epsilon": 8}, "validation_fraction": 0})
    corpus = encode_corpus([write(tmp_path, rows(60))], wanted, tmp_path / "out")
    assert (corpus.kind, corpus.labels) == ("text", ())


def test_a_large_vocabulary_may_be_sampled_beside_labels(tmp_path: Path) -> None:
    signs = [chr(0x4E00 + number) for number in range(7000)]
    entries = [
        {"text": "".join(signs[at : at + 14]) + ("fire" if at % 28 else "snow"),
         "label": "warm" if at % 28 else "cold"}
        for at in range(0, 7000, 14)
    ]  # fmt: skip
    told = Listener()
    options = {
        "objectives": {"classify": 1, "causal": 1}, "tokenizer": "char", "softmax": "sampled",
        "max_steps": 80, "validation_fraction": 0.2,
    }  # fmt: skip
    bundle = trained(tmp_path, write(tmp_path, entries), told, options=options)
    assert told.plan.sampled_classes > 0
    assert bundle.header.metrics["full_valid_accuracy"] > 0.8


def test_each_loss_is_told_of_a_mixture(tmp_path: Path) -> None:
    told = Listener()
    options = {"objectives": {"classify": 1, "causal": 3}}
    bundle = trained(tmp_path, write(tmp_path, rows(200)), told, options=options)
    last = next(each for each in told.all("metrics") if "valid_loss" in each)
    assert last["train_loss"] == pytest.approx(
        (last["train_classify_loss"] + 3 * last["train_causal_loss"]) / 4
    )
    figures = bundle.header.metrics
    text = np.log(2) * figures["full_valid_bits_per_character"]  # type: ignore[operator]
    assert text > 0
    assert figures["full_valid_classify_loss"] is not None


def test_sequences_are_as_long_as_most_texts(tmp_path: Path) -> None:
    entries = [{**row, "text": row["text"] * 12} for row in rows(60)]
    values = {"batch_size": 4, "sequence_length": None, "max_steps": 2}
    for objectives, most in (("classify", True), ("causal", False)):
        told = Listener()
        trained(
            tmp_path / objectives, write(tmp_path, entries), told,
            options={**values, "objectives": objectives},
        )  # fmt: skip
        assert (told.plan.sequence_length >= 12 * 7) == most


def test_a_label_without_a_symbol_is_no_bundle(tmp_path: Path) -> None:
    bundle = trained(tmp_path, write(tmp_path, rows(100)), options={"max_steps": 2})
    header = bundle.header.model_copy(update={"labels": ("cold", "lukewarm")})
    path = tmp_path / "other.safetensors"
    save_bundle(path, header, bundle.model.state_dict())
    with pytest.raises(InvalidBundle, match="lukewarm"):
        load_bundle(path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_labels_are_learnt_on_a_gpu_as_on_a_cpu(tmp_path: Path) -> None:
    source = write(tmp_path, rows(300))
    path = train(tmp_path, source, device="cuda", options={"max_steps": 150})
    assert path is not None
    assert load_bundle(path).header.metrics["full_valid_f1"] > 0.9
    texts = [row["text"] for row in rows(50, seed=9)]
    here, there = (list(classify(load_bundle(path, device), texts)) for device in ("cpu", "cuda"))
    for one, other in zip(here, there, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-3)
