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


DROPOUTS = (
    "dropout", "output_dropout", "input_dropout", "embedding_dropout", "weight_dropout"
)  # fmt: skip
IDS = torch.randint(11, (3, 40), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropouts_act_in_training_only(name: str) -> None:
    model = make(layers=2, hidden_size=16, embedding_size=8, **{name: 0.5})
    plain = make(layers=2, hidden_size=16, embedding_size=8)
    assert torch.equal(model(IDS)[0], plain(IDS)[0])
    model.train()
    assert not torch.equal(model(IDS)[0], model(IDS)[0])
    model.set_dropouts(ModelOptions())
    assert torch.equal(model(IDS)[0], plain(IDS)[0])


def test_what_the_output_sees_is_dropped_for_all_tokens_of_a_row_alike() -> None:
    model = make(hidden_size=64, output_dropout=0.5).train()
    features, _ = model.features(IDS)
    dropped = features == 0  # (B, T, H)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert 0.3 < dropped.float().mean() < 0.7
    assert not torch.equal(dropped[0], dropped[1])


def test_a_symbol_that_is_dropped_is_dropped_wherever_it_stands() -> None:
    model = make(embedding_dropout=0.5).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        embedded = model._embed(IDS)
    gone = (embedded == 0).all(-1)
    assert gone.any()
    for symbol in range(11):
        assert gone[symbol == IDS].unique().numel() <= 1
    kept = embedded[~gone]
    torch.testing.assert_close(kept, 2 * model.embedding(IDS)[~gone])


def test_dropped_recurrent_weights_keep_their_mean_and_get_gradients() -> None:
    model = make(hidden_size=64, weight_dropout=0.5).train()
    weight = model.lstm.weight_hh_l0
    dropped = model._layer_weights(0)[1]
    zero = dropped == 0
    assert 0.4 < zero.float().mean() < 0.6
    torch.testing.assert_close(dropped[~zero], 2 * weight[~zero])
    model(IDS)[0].sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("links", [{"residual": True}, {"layer_norm": True},
                                   {"residual": True, "layer_norm": True}])  # fmt: skip
def test_links_between_layers_are_sums_and_norms_of_plain_layers(links: dict[str, bool]) -> None:
    model = make(layers=3, hidden_size=16, embedding_size=8, **links)
    for parameter in model.norms.parameters():
        nn.init.normal_(parameter, 0.5)
    weights = model.state_dict()
    states = model.embedding(IDS)
    for index in range(3):
        layer = nn.LSTM(states.shape[-1], 16, batch_first=True)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        layer.load_state_dict({f"{n}_l0": weights[f"lstm.{n}_l{index}"] for n in names})
        below = states
        if index > 0 and "layer_norm" in links:
            states = model.norms[index - 1](states)
        states = layer(states)[0]
        if index > 0 and "residual" in links:
            states = states + below
    if "layer_norm" in links:
        states = model.norms[2](states)
    torch.testing.assert_close(model(IDS)[0], model.output(states), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_going_layer_by_layer_changes_nothing_else(training: bool) -> None:
    model = make(layers=3, hidden_size=16, embedding_size=8).train(training)
    hidden = (torch.randn(3, 3, 16), torch.randn(3, 3, 16))
    states, (h, c) = model._layer_by_layer(model.embedding(IDS), hidden)
    expected, (h_all, c_all) = model.lstm(model.embedding(IDS), hidden)
    for one, other in ((states, expected), (h, h_all), (c, c_all)):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
