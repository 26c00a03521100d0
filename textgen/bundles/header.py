"""What a model file says about itself; read without torch and without reading its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import Field

from textgen.bundles.tensor_file import TensorFile, open_tensor_file, parse_json, read_text
from textgen.corpus.documents import label_mark
from textgen.errors import InvalidBundle, InvalidOption
from textgen.options import ModelOptions, ObjectiveName, Options, RowKind
from textgen.plan import Plan
from textgen.tokenizers import load_tokenizer

FORMAT = 1
MODEL_PREFIX = "model."


class GenerationDefaults(Options):
    """How text from this model looks best; used where the caller says nothing."""

    max_tokens: int = Field(400, ge=1)
    temperature: float = Field(0.8, ge=0, le=2)
    stop: tuple[str, ...] = ()


class TrainingState(Options):
    """Where an unfinished training stands; its tensors lie in the same file."""

    step: int = Field(ge=0, description="optimizer steps done")
    seconds: float = Field(ge=0, description="of training, without waiting and validation")
    train_losses: dict[str, float] = Field(
        default_factory=dict, description="running mean of each part, nats per token"
    )
    best_step: int | None = Field(None, description="with the lowest validation loss")
    best_valid_loss: float | None = None
    best_figures: dict[str, float | None] = Field(
        default_factory=dict, description="all that was measured at the best step"
    )
    validations_without_gain: int = Field(0, ge=0)
    plan_hash: str
    corpus_hash: str


class BundleHeader(Options):
    """All of a bundle but its tensors. A checkpoint is a bundle with ``training``."""

    format: Literal[1] = 1
    model: ModelOptions
    tokenizer: dict[str, Any]
    vocab_size: int = Field(ge=2)
    parameters: int = Field(ge=1, description="how many numbers were learnt")
    base: str | None = None
    plan: Plan | None = None
    steps: int | None = Field(None, ge=0, description="optimizer steps done; of a finished model")
    metrics: dict[Annotated[str, Field(max_length=100)], float | None] = Field(default_factory=dict)
    corpus: dict[str, Any] = Field(default_factory=dict)
    generation_defaults: GenerationDefaults = GenerationDefaults()
    documents: bool = Field(False, description="whether it learnt where documents end")
    objectives: tuple[ObjectiveName, ...] = Field(
        ("causal",), description="what it has learnt to do"
    )
    rows: RowKind = Field("text", description="what it learnt from, and so how it is asked")
    labels: tuple[str, ...] = Field((), description="the classes that it tells apart")
    classification: dict[str, Any] | None = Field(
        None, description="how well it does, class by class, on the validation rows"
    )
    licence: str | None = Field(
        None, max_length=1000, description="what others may do with it: SPDX, or a line of text"
    )
    copy_index: int | None = Field(
        None, ge=1, description="longer copies of the training text than this can be told"
    )
    created: int = Field(0, ge=0, description="seconds since 1970")
    training: TrainingState | None = None


def read_header(path: Path) -> BundleHeader:
    """The header of a model file or checkpoint.

    InvalidBundle where the header is damaged, foreign, of another version, or does not agree
    with the shapes in the file. Damage in the tensors is found by ``load_bundle``.
    """
    return header_of(open_tensor_file(path))


def read_head(file: BinaryIO, name: str) -> BundleHeader:
    """The header of a model file of which no more is read; InvalidBundle on damage.

    ``name`` is for messages. Whether the tensors agree with it is not looked at.
    """
    return _parse_header(read_text(file, name), Path(name))


def header_of(file: TensorFile) -> BundleHeader:
    """``read_header`` for a file that is open already."""
    header = _parse_header(file.text, file.path)
    _check_shapes(file, header)
    return header


def _parse_header(text: str, path: Path) -> BundleHeader:
    try:
        values = parse_json(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InvalidBundle(f"{path.name} is not a model file: its header is no JSON object.")
    if values.get("format") != FORMAT:
        raise InvalidBundle(
            f"{path.name} has the format {values.get('format')!r}; this version of textgen "
            f"reads format {FORMAT}. Use the version that wrote it.",
            code="unknown_format",
        )
    try:
        return BundleHeader.parse(values)
    except InvalidOption as error:
        raise InvalidBundle(f"{path.name} has a header of other fields: {error}") from None


def model_shapes(vocab_size: int, options: ModelOptions) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor in a TextGenerator's state dict."""
    gates, hidden = 4 * options.hidden_size, options.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (vocab_size, options.embedding_size)}
    for layer in range(options.layers):
        width = options.embedding_size if layer == 0 else hidden
        shapes |= {
            f"lstm.weight_ih_l{layer}": (gates, width),
            f"lstm.weight_hh_l{layer}": (gates, hidden),
            f"lstm.bias_ih_l{layer}": (gates,),
            f"lstm.bias_hh_l{layer}": (gates,),
        }
        if options.layer_norm:
            shapes |= {f"norms.{layer}.weight": (hidden,), f"norms.{layer}.bias": (hidden,)}
    shapes["output.weight"] = (vocab_size, hidden)
    shapes["output.bias"] = (vocab_size,)
    return shapes


def _check_shapes(file: TensorFile, header: BundleHeader) -> None:
    tokenizer = load_tokenizer(header.tokenizer)
    if tokenizer.vocab_size != header.vocab_size:
        raise InvalidBundle(
            f"{file.path.name} has a tokenizer of {tokenizer.vocab_size} symbols and a model of "
            f"{header.vocab_size}."
        )
    unmarked = [label for label in header.labels if label_mark(label) not in tokenizer.special_ids]
    if unmarked:
        raise InvalidBundle(
            f"{file.path.name} has the label {unmarked[0][:80]!r} and no symbol for it."
        )
    if header.model.tie_weights and header.model.embedding_size != header.model.hidden_size:
        raise InvalidBundle(f"{file.path.name} ties weights of different shapes.")
    found = {
        name.removeprefix(MODEL_PREFIX): info.shape
        for name, info in file.tensors.items()
        if name.startswith(MODEL_PREFIX) and info.dtype == "F32"
    }
    wanted = model_shapes(header.vocab_size, header.model)
    if found != wanted:
        different = sorted(
            name for name in found.keys() | wanted if found.get(name) != wanted.get(name)
        )
        name = different[0]
        raise InvalidBundle(
            f"{file.path.name} does not hold the model that it describes: {name[:80]!r} is "
            f"{found.get(name)}, not {wanted.get(name)}."
        )
