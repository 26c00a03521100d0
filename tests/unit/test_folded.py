from __future__ import annotations

import numpy as np
import pytest
import torch

from textgen.engine import folded
from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.build import able_sets
from textgen.engine.kernels.kernel import Kernel
from textgen.engine.kernels.library import load
from textgen.engine.kernels.native import NativeKernel
from textgen.engine.kernels.torch_kernel import TorchKernel
from textgen.engine.prompt_reader import CHUNK, PROMPTS
from textgen.engine.rows import Rows
from textgen.errors import InvalidBundle
from textgen.model import TextGenerator

# layers, hidden, embedding, vocabulary: the presets' shapes, and odd ones
SHAPES = [(1, 128, 32, 65), (1, 256, 64, 257), (2, 512, 128, 65), (2, 40, 12, 33), (3, 72, 8, 500)]
TOLERANCE = 1e-5
INT8_MEAN = 0.03  # of logits whose spread is about 1


LINKS = [{"residual": True}, {"layer_norm": True}, {"residual": True, "layer_norm": True}]


def make_model(
    layers: int, hidden: int, embedding: int, vocabulary: int, **links: bool
) -> TextGenerator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(layers * hidden)
        model = TextGenerator(vocabulary, embedding, hidden, layers=layers, **links).eval()
        for norm in model.norms.parameters():
            torch.nn.init.normal_(norm, 0.5)
    return model


@pytest.fixture(
    params=[*((shape, {}) for shape in SHAPES), *((SHAPES[-1], links) for links in LINKS)],
    ids=str,
    scope="module",
)
def model(request: pytest.FixtureRequest) -> TextGenerator:
    shape, links = request.param
    return make_model(*shape, **links)


KERNELS = ["torch", *(f"{name} {kind}" for name in able_sets() for kind in ("float32", "int8"))]


def make_kernel(name: str, model: FoldedModel, threads: int = 1) -> Kernel:
    """By its name in KERNELS; the test is skipped where the compiler does not know the set."""
    if name == "torch":
        return TorchKernel(model)
    instructions, kind = name.split()
    library = load(instructions)
    if library is None:
        pytest.skip(f"no build for {instructions}: no compiler, or one that does not know it")
    return NativeKernel(model, library, threads, "int8" if kind == "int8" else "float32")


@pytest.fixture(params=KERNELS)
def kernel_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@torch.inference_mode()
def run_steps(rows: Rows, tokens: torch.Tensor) -> torch.Tensor:
    """Logits (B, T, columns) of tokens (B, T), one step each, from zero states."""
    count = tokens.shape[0]
    for row in range(count):
        rows.set(row, None, 0)
    logits = []
    for step in range(tokens.shape[1]):
        rows.state.tokens[:count] = tokens[:, step]
        logits.append(rows.step(count).clone())
    return torch.stack(logits, 1)


@pytest.mark.parametrize("table", [True, False])
def test_single_steps_give_the_logits_of_one_forward_pass(
    model: TextGenerator, kernel_name: str, table: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not table:
        monkeypatch.setattr(folded, "_LARGEST_TABLE", 0)
    weights = FoldedModel(model)
    assert (weights.table is not None) is table
    tokens = torch.randint(0, model.vocab_size, (5, 40))
    logits = run_steps(make_kernel(kernel_name, weights).rows(5), tokens)
    with torch.inference_mode():
        expected, _ = model(tokens)
    off = (logits[:, :, : model.vocab_size] - expected).abs()
    if kernel_name.endswith("int8"):
        assert off.mean() < INT8_MEAN
    else:
        assert off.max() < TOLERANCE
    assert logits[:, :, model.vocab_size :].eq(float("-inf")).all()


def test_the_bits_of_a_row_do_not_depend_on_the_number_of_rows(
    model: TextGenerator, kernel_name: str
) -> None:
    rows = make_kernel(kernel_name, FoldedModel(model)).rows(200)
    tokens = torch.randint(0, model.vocab_size, (200, 3))
    tokens[:, 0] = tokens[0, 0]  # else the first row would be the only one to compare
    alone = torch.cat([run_steps(rows, tokens[row : row + 1]) for row in range(200)])
    for count in (*range(1, 40), 64, 101, 127, 128, 129, 199, 200):
        together = run_steps(rows, tokens[:count])
        assert torch.equal(together, alone[:count]), count


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_holds_for_other_numbers_of_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = TorchKernel(FoldedModel(make_model(2, 160, 20, 97))).rows(200)
        tokens = torch.randint(0, 97, (1, 2)).expand(200, 2)
        alone = run_steps(rows, tokens[:1])
        for count in range(1, 201):
            assert torch.equal(run_steps(rows, tokens[:count]), alone.expand(count, -1, -1)), count
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_the_native_kernel_has_the_same_bits_for_all_threads_and_instruction_sets(
    model: TextGenerator, kind: str
) -> None:
    weights = FoldedModel(model)
    tokens = torch.randint(0, model.vocab_size, (61, 4))
    results = [
        run_steps(make_kernel(f"{instructions} {kind}", weights, threads).rows(61), tokens)
        for instructions in able_sets()
        for threads in (1, 2, 3)
    ]
    for result in results[1:]:
        assert torch.equal(result, results[0])


def test_prompts_read_in_chunks_leave_the_bits_of_single_steps(
    model: TextGenerator, kernel_name: str
) -> None:
    kernel = make_kernel(kernel_name, FoldedModel(model))
    reader, rows = kernel.reader(), kernel.rows(PROMPTS)
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 2 * CHUNK, PROMPTS)
    prompts = [generator.integers(0, model.vocab_size, length) for length in lengths]
    states: list[torch.Tensor | None] = [None] * PROMPTS
    first = reader.read([prompt[:CHUNK] for prompt in prompts], states)
    long = [index for index in range(PROMPTS) if lengths[index] > CHUNK]
    second = reader.read([prompts[i][CHUNK:] for i in long], [first[i].state for i in long])
    states = [each.state for each in first]
    for index, each in zip(long, second, strict=True):
        states[index] = each.state
    for index, prompt in enumerate(prompts):
        run_steps(rows, torch.from_numpy(prompt)[None])
        state = states[index]
        assert state is not None
        assert torch.equal(state[0], rows.state.hidden[:, 0]), index
        assert torch.equal(state[1], rows.state.cell[:, 0]), index


def test_a_step_leaves_the_rows_behind_it_alone(kernel_name: str) -> None:
    rows = make_kernel(kernel_name, FoldedModel(make_model(2, 64, 8, 20))).rows(40)
    start = torch.rand(2, 2, 64)
    for row in range(40):
        rows.set(row, start, 3)
    rows.step(5)
    before = rows.state.hidden[:, 36:].clone()  # beyond what the torch kernel may pad
    rows.step(5)
    assert torch.equal(rows.state.hidden[:, 36:], before)
    if kernel_name != "torch":
        assert torch.equal(rows.state.hidden[:, 5], start[0])


def test_banned_tokens_have_no_chance(kernel_name: str) -> None:
    weights = FoldedModel(make_model(1, 32, 8, 20), banned=(0, 7))
    rows = make_kernel(kernel_name, weights).rows(1)
    logits = run_steps(rows, torch.zeros(1, 1, dtype=torch.int64))
    assert logits[0, 0].isneginf().nonzero().flatten().tolist() == [0, 7, *range(20, 32)]


def test_weights_that_are_not_numbers_are_refused() -> None:
    model = make_model(1, 32, 8, 20)
    with torch.no_grad():
        model.lstm.weight_hh_l0[3, 4] = float("nan")
    with pytest.raises(InvalidBundle, match=r"weight_hh_l0"):
        FoldedModel(model)


def test_later_training_does_not_show(kernel_name: str) -> None:
    model = make_model(1, 32, 8, 20)
    rows = make_kernel(kernel_name, FoldedModel(model)).rows(1)
    tokens = torch.tensor([[3, 4]])
    before = run_steps(rows, tokens)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    assert torch.equal(run_steps(rows, tokens), before)
