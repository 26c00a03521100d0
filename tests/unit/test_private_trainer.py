import math

import numpy as np
import pytest
import torch
from scipy import stats

from textgen.errors import InvalidCheckpoint, TrainingDiverged
from textgen.options import ModelOptions
from textgen.plan import Plan, PrivacyPlan
from textgen.training.private.documents import Documents
from textgen.training.private.gradients import clipped_sum
from textgen.training.private.randomness import SecretRandomness
from textgen.training.private.trainer import PrivateTrainer
from textgen.training.trainer import new_model

KEY = SecretRandomness(bytes(range(32)))
GENERATOR = np.random.default_rng(4)
LENGTHS = GENERATOR.integers(1, 12, 40)


def tokens(left_out: int | None = None) -> np.ndarray:
    """40 documents of 8 kinds of tokens, each after an end (0); one of them left out."""
    generator = np.random.default_rng(4)
    texts = [generator.integers(1, 9, length) for length in LENGTHS]
    kept = [text for number, text in enumerate(texts) if number != left_out]
    return np.concatenate([[0], *(np.append(text, 0) for text in kept)]).astype(np.uint16)


def plans(**changes: object) -> tuple[Plan, PrivacyPlan]:
    values = {
        "epsilon": 50.0, "delta": 1e-4, "noise_multiplier": 0.8, "max_gradient_norm": 0.2,
        "documents": 40, "documents_per_step": 40,
    }  # fmt: skip
    privacy = PrivacyPlan.parse({**values, **changes})
    plan = Plan(
        preset="lstm-tiny", model=ModelOptions(hidden_size=16, embedding_size=8), tokenizer="byte",
        vocab_size=9, batch_size=7, sequence_length=10, total_steps=40, warmup_steps=0,
        decay_steps=0, learning_rate=0.01, weight_decay=0.0, gradient_clip=1.0, seed=3, threads=1,
        validate_every=10, device="cpu", numerics="", privacy=privacy,
    )  # fmt: skip
    return plan, privacy


def start(ids: np.ndarray | None = None, **changes: object) -> PrivateTrainer:
    plan, privacy = plans(**changes)
    documents = Documents(tokens() if ids is None else ids, 0, plan.sequence_length)
    return PrivateTrainer(plan, privacy, new_model(plan), documents, KEY)


def gradient(trainer: PrivateTrainer) -> torch.Tensor:
    """What the optimizer was given in the last step."""
    return torch.cat([each.grad.flatten() for each in trainer.model.parameters()])


def test_without_noise_it_is_the_mean_of_the_cut_gradients() -> None:
    trainer = start(noise_multiplier=1e-9)
    model = new_model(trainer.plan)
    (batch,) = Documents(tokens(), 0, 10).batches(range(40), 40)
    wanted = clipped_sum(model, batch, 0.2)
    trainer.advance()
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name] / 40)


def test_the_noise_has_the_scale_that_is_accounted_for() -> None:
    noise, largest = 1000.0, 0.2
    trainer = start(noise_multiplier=noise, max_gradient_norm=largest)
    found = []
    for _ in range(4):
        trainer.advance()
        found.append(gradient(trainer) * 40 / (noise * largest))
    together = torch.cat(found).numpy()
    # The documents add at most 40 / 1000 to the norm of some thousand numbers.
    assert stats.kstest(together, "norm").pvalue > 0.01
    assert abs(together.std() - 1) < 5 / math.sqrt(2 * len(together))
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("row", [0, 13, 39])
def test_a_document_more_changes_the_sum_by_at_most_the_largest_norm(row: int) -> None:
    with_it, without = start(), start(tokens(left_out=row))
    with_it.advance()
    without.advance()
    difference = (gradient(with_it) - gradient(without)).norm().item() * 40
    assert 0 < difference <= 0.2 * (1 + 1e-4)


def test_the_divisor_is_not_the_number_of_documents_drawn() -> None:
    trainer = start(documents_per_step=10, noise_multiplier=1e-9)
    drawn = KEY.draw(0, 40, 0.25)
    assert len(drawn) != 10
    (batch,) = Documents(tokens(), 0, 10).batches(drawn, 40)
    wanted = clipped_sum(new_model(trainer.plan), batch, 0.2)
    trainer.advance()
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name] / 10)


def test_a_step_without_documents_is_noise_alone() -> None:
    trainer = start(documents=10**9, documents_per_step=1)
    trainer.advance()
    assert gradient(trainer).isfinite().all()
    assert gradient(trainer).std() == pytest.approx(0.8 * 0.2, rel=0.1)


@pytest.mark.parametrize("stop", [0, 1, 5])
def test_going_on_from_a_state_changes_no_bit(stop: int) -> None:
    whole, first = start(documents_per_step=15), start(documents_per_step=15)
    for _ in range(10):
        whole.advance()
    for _ in range(stop):
        first.advance()
    plan, privacy = plans(documents_per_step=15)
    second = PrivateTrainer(plan, privacy, new_model(plan), Documents(tokens(), 0, 10))
    second.model.load_state_dict(first.model.state_dict())
    second.restore(stop, {}, {name: value.clone() for name, value in first.state().items()})
    for _ in range(10 - stop):
        second.advance()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])
    assert whole.metrics() == second.metrics()


def test_each_trainer_has_randomness_of_its_own() -> None:
    plan, privacy = plans()
    documents = Documents(tokens(), 0, 10)
    first, second = (PrivateTrainer(plan, privacy, new_model(plan), documents) for _ in range(2))
    first.advance()
    second.advance()
    assert not (gradient(first) == gradient(second)).any()


def test_it_tells_what_is_spent_and_no_loss() -> None:
    trainer = start()
    assert trainer.progress() == {"epsilon_spent": 0.0}
    trainer.advance(measure=True)
    assert set(trainer.metrics()) == {"epsilon_spent", "delta"}
    assert trainer.losses == {}
    assert trainer.summary().startswith("epsilon ")


def test_a_state_of_another_training_is_refused() -> None:
    trainer = start()
    trainer.advance()
    state = trainer.state()
    with pytest.raises(InvalidCheckpoint, match="not one of a private training"):
        start().restore(1, {}, {name: each for name, each in state.items() if "key" not in name})
    del state["optimizer.output.bias.exp_avg"]
    with pytest.raises(InvalidCheckpoint, match="another model"):
        start().restore(1, {}, state)


def test_weights_that_leave_the_numbers_end_it() -> None:
    trainer = start()
    with torch.no_grad():
        trainer.model.output.bias[0] = math.nan
    with pytest.raises(TrainingDiverged, match=r"step 1 of 40.*0\.0025"):
        trainer.advance()


def test_it_learns_what_all_documents_share() -> None:
    """1 2 3 4 5 6 7 8, begun anywhere."""
    texts = [np.roll(np.arange(1, 9), shift)[:6] for shift in range(8)] * 250
    ids = np.concatenate([[0], *(np.append(text, 0) for text in texts)]).astype(np.uint16)
    trainer = start(ids, documents=2000, documents_per_step=200, noise_multiplier=1.0)
    for _ in range(60):
        trainer.advance()
    assert trainer.progress()["epsilon_spent"] < 9
    logits, _ = trainer.model(torch.tensor([[0, 3, 4, 5]]))
    assert logits[0, -2:].argmax(-1).tolist() == [5, 6]
