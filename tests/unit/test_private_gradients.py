import itertools

import pytest
import torch
from torch.nn import functional

from textgen.model import TextGenerator
from textgen.training.private.gradients import clipped_sum, forward
from textgen.training.streams import IGNORED, Batch

SHAPES = {
    "plain": {},
    "normed": {"layer_norm": True},
    "deep": {"layers": 3, "layer_norm": True, "residual": True},
    "deep, no norm": {"layers": 2, "residual": True},
    "tied": {"tie_weights": True, "layer_norm": True, "layers": 2},
}


def a_model(shape: str, dtype: torch.dtype = torch.float64) -> TextGenerator:
    torch.manual_seed(5)
    model = TextGenerator(11, 12, 12, **SHAPES[shape]).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():  # so that no gradient is small by chance
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def a_batch() -> Batch:
    """Documents of 1, 4, 7 and 9 tokens, and one in which no target counts."""
    torch.manual_seed(6)
    inputs, targets = torch.randint(11, (5, 9)), torch.randint(11, (5, 9))
    for row, length in enumerate((1, 4, 7, 9)):
        targets[row, length:] = IGNORED
    targets[3, 2] = IGNORED
    targets[4] = IGNORED
    return Batch(inputs, targets)


def one_by_one(model: TextGenerator, batch: Batch) -> list[dict[str, torch.Tensor]]:
    """Each document's gradient, by the model itself and autograd."""
    found = []
    names, parameters = zip(*model.named_parameters(), strict=True)
    for x, y in zip(batch.inputs, batch.targets, strict=True):
        logits, _ = model(x[None])
        count = max(int((y != IGNORED).sum()), 1)
        loss = functional.cross_entropy(logits[0], y, ignore_index=IGNORED, reduction="sum") / count
        found.append(dict(zip(names, torch.autograd.grad(loss, parameters), strict=True)))
    return found


def norm(gradient: dict[str, torch.Tensor]) -> float:
    return torch.cat([value.flatten() for value in gradient.values()]).norm().item()


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_the_models(shape: str) -> None:
    model = a_model(shape)
    logits, places = forward(model, a_batch().inputs)
    torch.testing.assert_close(logits, model(a_batch().inputs)[0])
    assert len(places) == 2 + model.lstm.num_layers + len(model.norms)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_cutting_it_is_the_sum_of_the_documents_gradients(shape: str) -> None:
    model, batch = a_model(shape), a_batch()
    alone = one_by_one(model, batch)
    total = clipped_sum(model, batch, 1e9)
    assert set(total) == {name for name, _ in model.named_parameters()}
    for name, value in total.items():
        torch.testing.assert_close(value, sum(each[name] for each in alone))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.1, 0.7, 1.5])
def test_each_gradient_is_cut_to_the_largest_norm(shape: str, share: float) -> None:
    model, batch = a_model(shape), a_batch()
    alone = one_by_one(model, batch)
    norms = [norm(each) for each in alone]
    largest = share * sorted(norms)[len(norms) // 2]
    assert norms[4] == 0
    scales = [min(1.0, largest / max(each, 1e-30)) for each in norms]
    total = clipped_sum(model, batch, largest)
    for name, value in total.items():
        wanted = sum(scale * each[name] for scale, each in zip(scales, alone, strict=True))
        torch.testing.assert_close(value, wanted, rtol=1e-3, atol=1e-3 * largest)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_document_adds_more_than_the_largest_norm_in_single_precision(shape: str) -> None:
    """The bound itself: without the document the sum differs by at most the largest norm."""
    model, batch = a_model(shape, torch.float32), a_batch()
    for row, largest in itertools.product(range(5), (1e-3, 0.1, 1.0)):
        alone = Batch(batch.inputs[row : row + 1], batch.targets[row : row + 1])
        assert norm(clipped_sum(model, alone, largest)) <= largest * (1 + 1e-6)


def test_the_number_of_rows_at_once_changes_nothing() -> None:
    model, batch = a_model("deep"), a_batch()
    whole = clipped_sum(model, batch, 0.5)
    parts = [
        clipped_sum(model, Batch(batch.inputs[rows], batch.targets[rows]), 0.5)
        for rows in (slice(0, 2), slice(2, 5))
    ]
    for name, value in whole.items():
        torch.testing.assert_close(value, parts[0][name] + parts[1][name])
