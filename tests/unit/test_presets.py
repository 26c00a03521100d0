import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.costs import parameters
from textgen.errors import InvalidOption
from textgen.options import PRESETS, Hyperparameters
from textgen.presets import (
    CorpusStats,
    apply_hyperparameters,
    choose_preset,
    estimated_pace,
    fit_to_text,
)

STORY = CorpusStats(tokens=1_000_000, vocab_size=67)


def chosen(stats: CorpusStats = STORY, threads: int = 2, **values: object) -> tuple[int, int]:
    preset, _ = choose_preset(stats, Hyperparameters.parse(values), threads=threads)
    return preset.model.layers, preset.model.hidden_size


def test_more_time_more_threads_or_more_of_a_short_text_never_make_it_smaller() -> None:
    by_time = [chosen(max_seconds=seconds) for seconds in (5, 25, 95, 300, 3600, 40_000)]
    by_threads = [chosen(threads=threads) for threads in (1, 2, 8, 64)]
    by_text = [chosen(CorpusStats(tokens, 67)) for tokens in (1_000, 50_000, 500_000)]
    for sizes in (by_time, by_threads, by_text):
        assert sizes == sorted(sizes)
        assert sizes[0] < sizes[-1]


def at_pace(milliseconds: float, stats: CorpusStats = STORY, **values: object) -> tuple[int, int]:
    """What is chosen where a step of 1×256, B=16, T=64 takes so long, others by their work."""
    estimated = estimated_pace(STORY.vocab_size)
    known = estimated(PRESETS["lstm-small"].model_copy(update={"batch_size": 16}))
    preset, _ = choose_preset(
        stats,
        Hyperparameters.parse(values),
        pace=lambda other: estimated(other) / known * milliseconds / 1e3,
    )
    return preset.model.layers, preset.model.hidden_size


def test_what_was_measured_best_is_chosen() -> None:
    # docs/experiments.md: 1×384 came to 1.445 nats in half a minute, 1×256 to 1.474, 1×512 to 1.494
    assert at_pace(8.8, max_seconds=30) == (1, 384)
    assert at_pace(30.0, max_seconds=30) < (1, 256)


def test_a_width_that_learns_less_in_any_time_is_not_chosen() -> None:
    # docs/experiments.md: in 10 minutes 1×1024 came to 1.610 nats
    assert at_pace(12.0, max_seconds=600) == (1, 768)


def test_a_text_that_is_not_read_twice_gets_a_narrower_one() -> None:
    # docs/experiments.md: on 10 MB in two minutes 1×768 came to 1.300 nats, 1×384 to 1.239
    large = CorpusStats(tokens=9_000_000, vocab_size=100)
    assert at_pace(7.9, large, max_seconds=30) == (1, 256)
    assert at_pace(7.9, large, max_seconds=120) == (1, 384)
    assert at_pace(7.9, max_seconds=120) == (1, 768)


def test_a_sampled_softmax_leaves_time_for_a_wider_one() -> None:
    # docs/experiments.md: of Tang poems in a minute
    exact, sampled = (CorpusStats(400_000, 5_500, classes) for classes in (0, 2_048))
    assert chosen(sampled, max_seconds=60) > chosen(exact, max_seconds=60)


def test_no_limit_means_five_minutes() -> None:
    assert chosen() == chosen(max_seconds=300)


def test_a_limit_of_steps_or_epochs_counts_too() -> None:
    assert chosen(max_steps=200) == (1, 128)
    assert chosen(n_epochs=1) < chosen(n_epochs=50)
    assert chosen(max_seconds=3600, max_steps=200) == (1, 128)


def test_every_choice_is_told_with_its_reason() -> None:
    preset, events = choose_preset(STORY, Hyperparameters(max_seconds=95), threads=2)
    told = {event.data["option"]: event.data for event in events}
    assert told["model"]["value"] == f"1×{preset.model.hidden_size}"
    assert "steps" in told["model"]["reason"]
    assert told["batch_size"]["value"] == preset.batch_size
    assert all(event.type == "choice" for event in events)


def test_what_the_user_fixed_stays() -> None:
    wanted = Hyperparameters(hidden_size=200, batch_size=7, sequence_length=33, learning_rate=0.5)
    preset, _ = choose_preset(STORY, wanted)
    assert preset.model.hidden_size == 200
    assert (preset.batch_size, preset.sequence_length, preset.learning_rate) == (7, 33, 0.5)


def test_zero_is_a_value() -> None:
    base = PRESETS["lstm-base"]
    model = base.model.model_copy(update={"dropout": 0.1})
    base = base.model_copy(update={"model": model})
    preset = apply_hyperparameters(base, Hyperparameters(dropout=0, weight_decay=0))
    assert preset.model.dropout == 0
    assert preset.weight_decay == 0
    assert apply_hyperparameters(base, Hyperparameters()) == base


def test_the_multiplier_scales_the_learning_rate() -> None:
    preset = apply_hyperparameters(
        PRESETS["lstm-tiny"], Hyperparameters(learning_rate_multiplier=0.5)
    )
    assert preset.learning_rate == pytest.approx(4e-3)


def test_tied_weights_need_equal_widths() -> None:
    tied = apply_hyperparameters(PRESETS["lstm-base"], Hyperparameters(tie_weights=True))
    assert tied.model.embedding_size == tied.model.hidden_size == 512
    with pytest.raises(InvalidOption, match="embedding_size") as caught:
        apply_hyperparameters(
            PRESETS["lstm-base"], Hyperparameters(tie_weights=True, embedding_size=64)
        )
    assert caught.value.param == "tie_weights"


@given(
    tokens=st.integers(2, 10_000),
    batch=st.just("auto") | st.integers(1, 256),
    sequence=st.none() | st.integers(4, 1024),
)
def test_any_text_fills_a_step(tokens: int, batch: int | str, sequence: int | None) -> None:
    wanted = Hyperparameters.parse({"batch_size": batch, "sequence_length": sequence})
    preset = apply_hyperparameters(PRESETS["lstm-large"], wanted)
    fitted = fit_to_text(preset, tokens, wanted)
    assert 1 <= fitted.batch_size <= preset.batch_size
    assert 1 <= fitted.sequence_length <= preset.sequence_length
    assert fitted.batch_size * fitted.sequence_length < tokens


def test_a_long_text_keeps_the_preset() -> None:
    for preset in PRESETS.values():
        assert fit_to_text(preset, 1_000_000, Hyperparameters()) == preset


def test_weights_are_counted_as_in_the_formula() -> None:
    model = PRESETS["lstm-small"].model
    # embedding 65×64; gates 4×256×(64+256) and two biases each; a norm; head 65×256 and its bias
    assert parameters(model, 65) == 65 * 64 + 1024 * 320 + 2 * 1024 + 2 * 256 + 65 * 256 + 65
