import pytest
import torch
from torch import Tensor
from torch.nn import functional

from textgen.numerics import use_kernel
from textgen.plan import Kernel
from textgen.training import output_loss as module
from textgen.training.output_loss import output_loss


def tensors(dtype: torch.dtype = torch.float32, rows: int = 30) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    shapes = ((rows, 8), (11, 8), (11,))
    made = [torch.randn(shape, generator=random, dtype=dtype) for shape in shapes]
    return *(each.requires_grad_() for each in made), torch.randint(11, (rows,), generator=random)


def test_its_gradients_are_those_of_the_loss() -> None:
    features, weight, bias, targets = tensors(torch.float64)
    assert torch.autograd.gradcheck(
        lambda *parts: output_loss(*parts, targets).total, (features, weight, bias)
    )


@pytest.mark.parametrize("kernel", ["onednn", "native"])
@pytest.mark.parametrize("block", [1, 7 * 11, 1 << 20])
def test_it_is_the_cross_entropy_whatever_the_block(
    kernel: Kernel, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOGITS", block)
    *parts, targets = tensors()
    expected = functional.cross_entropy(functional.linear(*parts), targets, reduction="sum")
    wanted = torch.autograd.grad(3 * expected, parts)
    with use_kernel(kernel):
        found = output_loss(*parts, targets)
        gradients = torch.autograd.grad(3 * found.total, parts)
    torch.testing.assert_close(found.total, expected)
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-5, rtol=1e-4)
    likeliest = functional.linear(*parts).argmax(1)
    assert found.right.item() == (likeliest == targets).sum().item()
    assert found.count == 30


def test_a_target_that_is_next_to_impossible_costs_what_it_should() -> None:
    weight, features = torch.zeros(3, 2), torch.ones(1, 2)
    bias = torch.tensor([200.0, 0.0, -300.0])
    assert output_loss(features, weight, bias, torch.tensor([2])).total.item() == 500


def test_nothing_to_predict_is_no_loss_and_no_gradient() -> None:
    features, weight, bias, targets = tensors(rows=0)
    found = output_loss(features, weight, bias, targets)
    found.mean.backward()  # type: ignore[no-untyped-call]
    assert found.mean.item() == 0
    assert weight.grad is not None
    assert not weight.grad.any()


def test_no_logits_are_kept_for_the_backward_pass() -> None:
    *parts, targets = tensors()
    function = output_loss(*parts, targets).total.grad_fn
    kept = function.saved_tensors  # type: ignore[union-attr]
    assert [each.shape for each in kept] == [each.shape for each in parts]
