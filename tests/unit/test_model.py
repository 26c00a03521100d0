import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from textgen.errors import InvalidOption
from textgen.model import TextGenerator
from textgen.options import ModelOptions

Array = npt.NDArray[np.float64]


def make(seed: int = 0, **options: object) -> TextGenerator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TextGenerator.from_options(11, ModelOptions.parse(options)).eval()


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def reference(model: TextGenerator, ids: list[int]) -> Array:
    """Logits (T, V) for one row, in float64, from the equations of the LSTM alone."""
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    size = model.lstm.hidden_size
    sequence = [weights["embedding.weight"][token] for token in ids]
    for layer in range(model.lstm.num_layers):
        w, u = weights[f"lstm.weight_ih_l{layer}"], weights[f"lstm.weight_hh_l{layer}"]
        b = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
        h, c = np.zeros(size), np.zeros(size)
        outputs = []
        for x in sequence:
            i, f, g, o = np.split(w @ x + u @ h + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        sequence = outputs
    return np.stack(sequence) @ weights["output.weight"].T + weights["output.bias"]


@pytest.mark.parametrize("layers", [1, 3])
def test_it_computes_the_equations_of_the_lstm(layers: int) -> None:
    model = make(layers=layers, hidden_size=24, embedding_size=8)
    ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 10, 0]
    exact = model.double()(torch.tensor([ids]))[0][0].detach().numpy()
    np.testing.assert_allclose(exact, reference(model, ids), atol=1e-12)
    single = model.float()(torch.tensor([ids]))[0][0].detach().numpy()
    np.testing.assert_allclose(single, reference(model, ids), atol=2e-6)


def test_its_gradients_are_those_of_the_loss() -> None:
    model = make(layers=2, hidden_size=8, embedding_size=4).double()
    ids = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])

    def loss() -> torch.Tensor:
        logits = model(ids[:, :-1])[0]
        return nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    loss().backward()
    for parameter in model.parameters():
        place = tuple(size // 2 for size in parameter.shape)
        assert parameter.grad is not None
        found, original = parameter.grad[place].item(), parameter.data[place].item()
        losses = []
        for nudge in (1e-5, -1e-5):
            parameter.data[place] = original + nudge
            losses.append(loss().item())
        parameter.data[place] = original
        assert found == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("batch", [1, 7])
def test_single_steps_equal_one_long_forward(batch: int) -> None:
    model = make(layers=2, hidden_size=32, embedding_size=8)
    ids = torch.randint(11, (batch, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        at_once, (h, c) = model(ids)
        hidden, steps = None, []
        for column in ids.split(1, dim=1):
            logits, hidden = model(column, hidden)
            steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, 1), at_once, atol=1e-5, rtol=1e-5)
    assert hidden is not None
    torch.testing.assert_close(hidden[0], h, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(hidden[1], c, atol=1e-5, rtol=1e-5)


def test_a_row_alone_equals_that_row_in_a_batch() -> None:
    model = make(layers=1, hidden_size=32, embedding_size=8)
    ids = torch.randint(11, (16, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = model(ids)[0]
        for row in (0, 9, 15):
            alone = model(ids[row : row + 1])[0][0]
            torch.testing.assert_close(alone, together[row], atol=1e-5, rtol=1e-5)


def test_the_forget_gate_starts_open() -> None:
    model = make(layers=2, hidden_size=16, embedding_size=8)
    for layer in range(2):
        biases = [getattr(model.lstm, f"bias_{kind}_l{layer}") for kind in ("ih", "hh")]
        total = sum(biases, torch.zeros(64)).view(4, 16)
        assert total[1].eq(1).all()
        assert total[[0, 2, 3]].eq(0).all()


def test_a_new_model_is_about_as_good_as_guessing() -> None:
    model = make(hidden_size=64, embedding_size=16)
    ids = torch.randint(11, (8, 33), generator=torch.Generator().manual_seed(1))
    logits = model(ids[:, :-1])[0]
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(11), abs=0.1)


def test_its_weights_load_into_plain_modules() -> None:
    model = make(layers=2, hidden_size=16, embedding_size=8)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(11, 8)
            self.lstm = nn.LSTM(8, 16, 2, batch_first=True)
            self.output = nn.Linear(16, 11)

    plain = Plain()
    plain.load_state_dict(model.state_dict())
    ids = torch.tensor([[1, 2, 3]])
    logits = plain.output(plain.lstm(plain.embedding(ids))[0])
    assert torch.equal(logits, model(ids)[0])


def test_tied_weights_are_one_matrix_and_need_equal_sizes() -> None:
    model = make(hidden_size=16, embedding_size=16, tie_weights=True)
    assert model.output.weight is model.embedding.weight
    with pytest.raises(InvalidOption, match="they are 8 and 16"):
        make(hidden_size=16, embedding_size=8, tie_weights=True)


def test_dropout_acts_in_training_only() -> None:
    model = make(layers=2, hidden_size=16, embedding_size=8, dropout=0.5)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(ids)[0], model(ids)[0])
    model.train()
    assert not torch.equal(model(ids)[0], model(ids)[0])
    model.set_dropout(0)
    assert torch.equal(model(ids)[0], model(ids)[0])
