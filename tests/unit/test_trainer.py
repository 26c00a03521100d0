import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from textgen.errors import InvalidCheckpoint, TrainingDiverged
from textgen.model import TextGenerator
from textgen.options import ModelOptions
from textgen.plan import Kernel, Plan
from textgen.tokenizers import Ids
from textgen.training.mixture import Mixture, Part
from textgen.training.sampled_classes import SampledClasses
from textgen.training.schedule import learning_rate
from textgen.training.streams import TextStreams
from textgen.training.trainer import Trainer, new_model

TOKENS = np.random.default_rng(0).integers(0, 9, 700).astype(np.uint16)


def make_plan(**changes: object) -> Plan:
    model = ModelOptions(layers=2, hidden_size=16, embedding_size=8, dropout=0.2)
    values = {
        "preset": "lstm-tiny", "model": model, "tokenizer": "char", "vocab_size": 9,
        "batch_size": 4, "sequence_length": 8, "total_steps": 40, "warmup_steps": 3,
        "decay_steps": 16, "learning_rate": 0.01, "weight_decay": 0.1,
        "gradient_clip": 1.0, "seed": 3, "threads": 1, "validate_every": 10, "device": "cpu",
        "numerics": "", "kernel": "onednn",
    }  # fmt: skip
    return Plan.parse({**values, **changes})


def mixture(plan: Plan, tokens: Ids = TOKENS) -> Mixture:
    rows = slice(0, plan.batch_size)
    streams = TextStreams(tokens, plan.batch_size, plan.sequence_length)
    classes = None
    if plan.sampled_classes:
        classes = SampledClasses(tokens, plan.vocab_size, plan.sampled_classes, plan.seed)
    return Mixture([Part("causal", 1.0, rows, streams)], classes)


def start(plan: Plan) -> Trainer:
    return Trainer(plan, new_model(plan), mixture(plan))


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("sampled", [0, 4])
@pytest.mark.parametrize("kernel", ["onednn", "native"])
@pytest.mark.parametrize("stop", [1, 2, 17])
def test_going_on_from_a_state_changes_no_bit(kernel: Kernel, stop: int, sampled: int) -> None:
    plan = make_plan(kernel=kernel, sampled_classes=sampled)
    whole = start(plan)
    for _ in range(30):
        whole.advance()

    first = start(plan)
    for _ in range(stop):
        first.advance()
    model = TextGenerator.from_options(9, plan.model)
    model.load_state_dict(weights(first))
    second = Trainer(plan, model, mixture(plan))
    state = {name: value.clone() for name, value in first.state().items()}
    second.restore(first.step, first.losses, state)
    torch.manual_seed(99)  # whatever else has used the generators in between
    for _ in range(30 - stop):
        second.advance()

    assert same(weights(whole), weights(second))
    assert whole.loss == second.loss
    assert same(whole.state(), second.state())


def test_a_step_is_stateful_back_propagation_with_adamw() -> None:
    """Against the same three steps written out with plain torch."""
    model_options = ModelOptions(layers=1, hidden_size=16, embedding_size=8)
    plan = make_plan(model=model_options, weight_decay=0.0, gradient_clip=0.1)
    trainer = start(plan)
    plain = new_model(plan)
    optimizer = torch.optim.AdamW(plain.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    ids = torch.from_numpy(TOKENS.astype(np.int64)).view(4, 175)
    hidden = None
    for step in range(3):
        x, y = ids[:, step * 8 : step * 8 + 8], ids[:, step * 8 + 1 : step * 8 + 9]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(plan, step)
        logits, (h, c) = plain(x, hidden)
        hidden = (h.detach(), c.detach())
        optimizer.zero_grad()
        functional.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        optimizer.step()
        trainer.advance()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_only_matrices_decay() -> None:
    still = make_plan(weight_decay=0.0, total_steps=10**6, warmup_steps=0)
    strong = still.model_copy(update={"weight_decay": 1.0})
    calm, decayed = start(still), start(strong)
    calm.advance()
    decayed.advance()
    for name, value in calm.model.named_parameters():
        other = decayed.model.get_parameter(name)
        assert torch.equal(value, other) == (value.ndim == 1), name


def test_the_same_seed_gives_the_same_model_and_leaves_the_generators_alone() -> None:
    state = torch.get_rng_state()
    first, second = start(make_plan()), start(make_plan())
    first.advance()
    second.advance()
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(start(make_plan(seed=4))))
    assert torch.equal(state, torch.get_rng_state())


def test_a_loss_that_leaves_the_numbers_says_the_way_out() -> None:
    trainer = start(make_plan())
    trainer.advance()
    before = weights(trainer)
    with torch.no_grad():
        trainer.model.output.weight[0, 0] = math.nan
    with pytest.raises(TrainingDiverged, match=r"step 2 of 40.*learning_rate 0\.0025"):
        trainer.advance()
    del before["output.weight"]
    assert same(before, weights(trainer))  # no step was taken


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("sampled", [0, 4])
def test_it_learns_what_can_be_learnt(sampled: int, tied: bool) -> None:
    tokens = np.tile(np.arange(9, dtype=np.uint16), 100)
    model = ModelOptions(layers=1, hidden_size=16, embedding_size=16, tie_weights=tied)
    plan = make_plan(model=model, total_steps=301, learning_rate=0.02, sampled_classes=sampled)
    trainer = Trainer(plan, new_model(plan), mixture(plan, tokens))
    for _ in range(300):
        trainer.advance()
    trainer.advance(measure=True)
    assert trainer.loss < 0.2
    assert trainer.accuracy > 0.95


def test_a_state_of_another_shape_is_refused() -> None:
    trainer = start(make_plan())
    trainer.advance()
    other = start(make_plan(batch_size=5))
    with pytest.raises(InvalidCheckpoint, match="another model"):
        other.restore(1, {"causal": 1.0}, trainer.state())
    with pytest.raises(InvalidCheckpoint, match="None"):
        start(make_plan()).restore(1, {"causal": 1.0}, {})


def test_sampling_all_classes_is_the_exact_softmax() -> None:
    exact, sampled = start(make_plan()), start(make_plan(sampled_classes=9))
    exact.advance()
    sampled.advance()
    assert sampled.loss == pytest.approx(exact.loss, abs=1e-6)
    for name, value in exact.model.state_dict().items():
        torch.testing.assert_close(sampled.model.state_dict()[name], value, atol=1e-5, rtol=1e-4)
