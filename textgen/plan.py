"""The plan of a training: everything that its result depends on, fixed before the first step."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field

from textgen.options import ModelOptions, ObjectiveName, Options, Precision, TokenizerName

Kernel = Literal["onednn", "native"]


class PrivacyPlan(Options):
    """How a training keeps its documents private. Published with the model, so no secret is in it.

    In a step each document is drawn by itself with the chance ``sample_rate``.
    """

    epsilon: float = Field(gt=0, description="that is not exceeded after the last step")
    delta: float = Field(gt=0, lt=1)
    noise_multiplier: float = Field(
        gt=0, description="standard deviation of the noise, in units of max_gradient_norm"
    )
    max_gradient_norm: float = Field(gt=0, description="of the gradient of one document")
    documents: int = Field(ge=1, description="that are protected, all of the training part")
    documents_per_step: int = Field(ge=1, description="drawn on average")

    @property
    def sample_rate(self) -> float:
        """The chance of a document to be in a step."""
        return min(self.documents_per_step / self.documents, 1.0)


class Plan(Options):
    """What a training does, step by step; with the same numerics the same weights come out."""

    preset: str = Field(description="the preset that was asked for")
    base: str | None = Field(None, description="SHA-256 of the bundle that training starts from")
    model: ModelOptions
    tokenizer: TokenizerName
    vocab_size: int = Field(ge=2, description="ids of the tokenizer (V)")
    objectives: dict[ObjectiveName, float] = Field(
        default={"causal": 1.0}, description="what is learnt, each with its weight in the loss"
    )
    replay: str | None = Field(None, description="SHA-256 of the earlier text that is to be kept")
    replay_fraction: float = Field(0.0, ge=0, lt=1, description="of the rows, for that text")
    embeddings: str | None = Field(
        None, description="SHA-256 of the word vectors that the embedding begins with"
    )
    freeze_embeddings: bool = Field(False, description="whether the embedding stays as it begins")
    batch_size: int = Field(ge=1, description="parallel streams of text (B)")
    sequence_length: int = Field(ge=1, description="tokens per truncated back-propagation (T)")
    beginnings: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the rows that begin a document in a step, with nothing before it",
    )
    total_steps: int = Field(ge=1, description="optimizer steps")
    warmup_steps: int = Field(ge=0, description="steps in which the learning rate rises from 0")
    decay_steps: int = Field(ge=0, description="steps at the end in which the rate falls to 0")
    learning_rate: float = Field(gt=0, description="the peak, after the warm-up")
    weight_decay: float = Field(ge=0, le=1)
    gradient_clip: float = Field(gt=0, description="largest gradient norm")
    seed: int = Field(ge=0, description="of the weights and of dropout")
    threads: int = Field(ge=1, description="CPU threads of each worker")
    workers: int = Field(1, ge=1, description="processes that share every batch")
    validate_every: int = Field(ge=1, description="steps between two validations")
    max_seconds: float | None = Field(None, gt=0, description="of training; None for no limit")
    patience: int | None = Field(
        None, ge=1, description="validations without improvement before it stops"
    )
    privacy: PrivacyPlan | None = Field(
        None,
        description="where it is there, sequence_length is how much of a document is read, and "
        "batch_size how many are computed at once",
    )
    device: str = Field(description="cpu, cuda or cuda:N")
    kernel: Kernel = Field("native", description="which LSTM of torch's was faster on this CPU")
    precision: Precision = Field(
        "float32", description="of the LSTM's products; weights and optimizer are always float32"
    )
    sampled_classes: int = Field(
        0,
        ge=0,
        description="symbols, beside those to predict, that stand for all in a step's softmax; "
        "0 for all of them",
    )
    numerics: str = Field(
        description="what the last bit depends on: device, dtype, torch, instruction set, "
        "threads, kernels"
    )

    @property
    def tokens_per_step(self) -> int:
        """That a step reads; at most, where documents are drawn."""
        rows = self.batch_size if self.privacy is None else self.privacy.documents_per_step
        return rows * self.sequence_length

    def summary(self) -> str:
        """How long it is, of what steps, with what model and rate."""
        shape = f"{self.model.layers}×{self.model.hidden_size}"
        step = f"{self.batch_size}×{self.sequence_length} tokens"
        if self.privacy is not None:
            drawn = f"about {self.privacy.documents_per_step:,} documents"
            step = f"{drawn} of up to {self.sequence_length} tokens"
        return (
            f"{self.total_steps:,} steps of {step} with an LSTM of {shape}, "
            f"learning rate {self.learning_rate:g}"
        )

    def digest(self) -> str:
        """SHA-256 of the plan, the same for equal plans in any process.

        What has its default value does not count, so that a field that a later version adds
        changes no digest of the plans of today.
        """
        plan = self.model_dump(mode="json", exclude_defaults=True)
        values = json.dumps(plan, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(values.encode()).hexdigest()
