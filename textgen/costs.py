"""What a training costs, before it runs: weights, arithmetic, memory, tokens a second.

Sizes are exact; speeds are rough, to choose a shape by. A plan measures the real ones.
"""

from __future__ import annotations

from textgen.options import ModelOptions, Preset

FLOAT = 4  # bytes
_PROCESS_BYTES = 350 << 20  # Python, torch and its kernels with nothing loaded
# Of one core with AVX2 at layers that are wide; half of it at 300 units, since narrow layers spend
# more of their time outside of matrix products. Cores with AVX-512 do more than twice as much.
_CORE_FLOPS = 120e9
_HALF_SPEED_UNITS = 300
# A GPU waits for kernels to start at these sizes; about what thirty cores do.
_GPU_CORES = 30


def parameters(model: ModelOptions, vocab_size: int) -> int:
    """The number of weights of a TextGenerator."""
    embedding = vocab_size * model.embedding_size
    a_unit = 8 + 2 * model.layer_norm  # two biases a gate; a norm's scale and shift
    biases = model.layers * a_unit * model.hidden_size + vocab_size
    head = 0 if model.tie_weights else vocab_size * model.hidden_size
    return embedding + _recurrent(model) + head + biases


def training_flops(model: ModelOptions, classes: int) -> float:
    """Arithmetic to train on one token: two operations a weight, forward and twice backward.

    ``classes`` are the symbols that a step's softmax is over.
    """
    return 6.0 * (_recurrent(model) + classes * model.hidden_size)


def tokens_per_second(
    model: ModelOptions, classes: int, *, threads: int, device: str = "cpu"
) -> float:
    """About how fast training goes with a softmax over ``classes``."""
    cores = threads if device == "cpu" else _GPU_CORES
    width = model.hidden_size
    speed = _CORE_FLOPS * cores * width / (width + _HALF_SPEED_UNITS)
    return speed / training_flops(model, classes)


def training_bytes(preset: Preset, vocab_size: int, classes: int) -> int:
    """About the memory of a training process.

    Weights, gradients, the optimizer's two moments and the best weights so far; for the
    backward pass per token the gates and states of each layer, and logits with their gradients
    over ``classes``.
    """
    model = preset.model
    weights = 5 * parameters(model, vocab_size)
    per_token = model.embedding_size + 12 * model.layers * model.hidden_size + 3 * classes
    activations = preset.batch_size * preset.sequence_length * per_token
    return _PROCESS_BYTES + FLOAT * (weights + activations)


def _recurrent(model: ModelOptions) -> int:
    """Weights of the four gates of each layer, without biases."""
    width = model.hidden_size
    inputs = model.embedding_size + (model.layers - 1) * width
    return 4 * width * (inputs + model.layers * width)
