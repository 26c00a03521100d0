from pathlib import Path

import pytest
import torch

from tests.unit.training_files import Listener, small, text_file
from textgen import softmax
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.encode import encode_corpus
from textgen.errors import InvalidOption
from textgen.numerics import describe_numerics, pick_device, use_kernel
from textgen.options import PRESETS, Hyperparameters
from textgen.plan import Plan
from textgen.training import planning
from textgen.training.planning import make_plan
from textgen.training.step_timing import Way, fastest_way

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    folder = tmp_path_factory.mktemp("corpus")
    return encode_corpus([text_file(folder)], Hyperparameters(), folder / "ids")


def plan(corpus: EncodedCorpus, listener: Listener | None = None, /, **values: object) -> Plan:
    wanted = Hyperparameters.parse(values)
    told = Listener() if listener is None else listener
    return make_plan(corpus, "lstm-tiny", wanted, device=CPU, threads=1, on_event=told)


def test_measuring_leaves_every_generator_as_it_was(corpus: EncodedCorpus) -> None:
    torch.manual_seed(11)
    state = torch.get_rng_state()
    plan(corpus, max_seconds=2, dropout=0.3)
    assert torch.equal(state, torch.get_rng_state())


def test_seconds_become_as_many_steps_as_were_measured_to_fit(
    corpus: EncodedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "step_seconds", lambda *_: 0.02)
    assert plan(corpus, max_seconds=5).total_steps == 250
    assert plan(corpus, max_seconds=500).total_steps == 25_000
    assert plan(corpus, max_seconds=0.001).total_steps == 1


def test_another_way_must_be_clearly_faster() -> None:
    first, other = Way("onednn", 2), Way("onednn", 1)
    told = Listener()
    assert fastest_way({first: 1.0, other: 0.95}, told) == first
    assert fastest_way({first: 1.0, other: 0.85}, told) == other
    assert "onednn on 1 thread 850.0 ms" in told.all("choice")[-1]["reason"]


def test_the_tightest_limit_counts(corpus: EncodedCorpus) -> None:
    assert plan(corpus, max_steps=3, n_epochs=50, max_seconds=100).total_steps == 3
    assert plan(corpus, max_steps=10**6, n_epochs=1).total_steps < 1000
    tokens = corpus.tokens("train").size
    one = plan(corpus, n_epochs=2, batch_size=2, sequence_length=16)
    assert one.total_steps == -(-2 * tokens // 32)


@pytest.mark.parametrize("steps", [1, 2, 3, 19, 1000])
def test_any_number_of_steps_makes_a_plan(corpus: EncodedCorpus, steps: int) -> None:
    made = plan(corpus, max_steps=steps)
    assert made.total_steps == steps
    assert made.warmup_steps < steps
    assert 1 <= made.validate_every <= steps


def test_an_explicit_zero_is_kept(corpus: EncodedCorpus) -> None:
    made = plan(corpus, max_steps=5, seed=0, dropout=0.0, weight_decay=0.0)
    assert (made.seed, made.model.dropout, made.weight_decay) == (0, 0.0, 0.0)


def test_a_named_preset_is_followed_where_the_text_is_long_enough(corpus: EncodedCorpus) -> None:
    made = plan(corpus, max_steps=5)
    assert made.model == PRESETS["lstm-tiny"].model
    assert made.learning_rate == PRESETS["lstm-tiny"].learning_rate
    assert plan(corpus, max_steps=5, learning_rate_multiplier=0.5).learning_rate == (
        PRESETS["lstm-tiny"].learning_rate * 0.5
    )


@pytest.mark.parametrize("preset", ["lstm-tiny", "lstm-auto"])
def test_a_text_that_is_seen_often_gets_dropout(corpus: EncodedCorpus, preset: str) -> None:
    tokens = corpus.splits["train"].tokens

    def made(epochs: int, **values: object) -> tuple[Plan, Listener]:
        told = Listener()
        steps = epochs * tokens // (4 * 16)
        options = {"batch_size": 4, "sequence_length": 16, "max_steps": steps, **values}
        wanted = Hyperparameters.parse(options)
        plan = make_plan(corpus, preset, wanted, device=CPU, threads=1, on_event=told)
        return plan, told

    few, many = made(1)[0].model, made(20)[0].model
    assert (few.dropout, few.input_dropout, few.weight_dropout) == (0, 0, 0)
    assert many.dropout > 0.1
    assert min(many.input_dropout, many.weight_dropout) > 0
    fixed, told = made(20, dropout=0.05)
    assert (fixed.model.dropout, fixed.model.weight_dropout) == (0.05, 0)
    assert "dropout" not in {each["option"] for each in told.all("choice")}
    half, told = made(20, weight_dropout=0)
    assert (half.model.dropout, half.model.weight_dropout) == (many.dropout, 0)
    choices = {each["option"]: each for each in told.all("choice")}
    assert choices["dropout"]["value"] == many.dropout
    assert "seen about 20.0 times" in choices["dropout"]["reason"]
    assert "weight_dropout" not in choices


def test_dropout_that_takes_time_is_in_the_measured_step(
    corpus: EncodedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(plan: Plan, *_: object) -> float:
        return 0.04 if plan.model.weight_dropout else 0.02

    monkeypatch.setattr(planning, "step_seconds", seconds)
    made = plan(corpus, max_seconds=500)
    assert made.model.weight_dropout > 0
    assert made.total_steps == 12_500
    assert plan(corpus, max_seconds=500, dropout=0.1).total_steps == 25_000


@pytest.mark.parametrize("preset", ["lstm-auto", "lstm-small"])
def test_a_short_text_has_a_row_for_each_objective(tmp_path: Path, preset: str) -> None:
    text = "A word of some length. Another sentence stands here. " * 6
    objectives = ["causal", "infill", "mask", "order"]
    wanted = Hyperparameters.parse({"objectives": objectives, "max_steps": 3})
    short = encode_corpus([text_file(tmp_path, text)], wanted, tmp_path / "ids")
    made = make_plan(short, preset, wanted, device=CPU, threads=1, on_event=Listener())
    assert made.batch_size >= len(objectives)


def test_too_few_rows_by_wish_are_refused_with_the_number_that_is_needed(
    corpus: EncodedCorpus,
) -> None:
    with pytest.raises(InvalidOption, match="Give at least 2") as caught:
        plan(corpus, objectives=["causal", "mask"], batch_size=1, max_steps=3)
    assert caught.value.param == "batch_size"


def test_choices_are_told_with_their_reasons(corpus: EncodedCorpus) -> None:
    told = Listener()
    made = plan(corpus, told)
    choices = {choice["option"]: choice for choice in told.all("choice")}
    assert choices["kernel"]["value"] == str(Way(made.kernel, 1, made.precision))
    assert "ms" in choices["kernel"]["reason"]
    assert choices["n_epochs"]["value"] == 30


def test_an_unknown_preset_names_those_there_are(corpus: EncodedCorpus) -> None:
    with pytest.raises(InvalidOption, match="lstm-auto, lstm-tiny"):
        make_plan(corpus, "lstm-huge", small(), device=CPU, threads=1, on_event=Listener())


def test_numerics_name_threads_kernel_and_precision(corpus: EncodedCorpus) -> None:
    made = plan(corpus, max_steps=5)
    assert made.numerics == describe_numerics(CPU, 1, made.kernel, precision=made.precision)
    assert made.numerics != describe_numerics(CPU, 2, made.kernel, precision=made.precision)
    assert torch.__version__ in made.numerics


def test_no_more_threads_than_given_and_torch_is_left_with_those_chosen(
    corpus: EncodedCorpus,
) -> None:
    before = torch.get_num_threads()
    try:
        wanted = Hyperparameters.parse({"max_steps": 5})
        told = Listener()
        made = make_plan(corpus, "lstm-tiny", wanted, device=CPU, threads=2, on_event=told)
        assert made.threads in (1, 2)
        assert torch.get_num_threads() == made.threads
        (measured,) = (c for c in told.all("choice") if c["option"] == "kernel")
        assert "1 thread" in measured["reason"]
        assert "2 threads" in measured["reason"]
    finally:
        torch.set_num_threads(before)


def test_kernels_are_set_back_after_use() -> None:
    before = torch.backends.mkldnn.enabled
    for kernel in ("native", "onednn"):
        with use_kernel(kernel):
            assert torch.backends.mkldnn.enabled == (kernel == "onednn")
        assert torch.backends.mkldnn.enabled == before


@pytest.mark.parametrize("name", ["mps", "tpu", "cuda:99", "", "cpu:x"])
def test_a_device_that_cannot_be_had_names_what_can(name: str) -> None:
    with pytest.raises(InvalidOption, match="cpu") as error:
        pick_device(name)
    assert error.value.param == "device"


def test_auto_is_a_device_that_works() -> None:
    assert torch.zeros(1, device=pick_device("auto")).item() == 0


def test_the_softmax_of_a_large_vocabulary_is_sampled_unless_the_exact_one_is_wanted(
    corpus: EncodedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Listener()
    assert plan(corpus, told, max_steps=1, softmax="sampled").sampled_classes == 0
    reasons = {each["option"]: each["reason"] for each in told.all("choice")}
    assert "would save nothing" in reasons["softmax"]
    assert plan(corpus, max_steps=1).sampled_classes == 0
    half = corpus.tokenizer.vocab_size // 2
    monkeypatch.setattr(softmax, "SAMPLED_CLASSES", half)
    assert plan(corpus, max_steps=1, softmax="sampled").sampled_classes == half
    assert plan(corpus, max_steps=1, softmax="exact").sampled_classes == 0
    told = Listener()
    assert plan(corpus, told, max_steps=1).sampled_classes == half
    reasons = {each["option"]: each["reason"] for each in told.all("choice")}
    assert "would take longer and teach no more" in reasons["softmax"]
