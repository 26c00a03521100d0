"""Small trainings for tests: a text, options that finish in a second, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from textgen.bundles.bundle import Bundle, load_bundle
from textgen.corpus.sources import Source
from textgen.events import Event
from textgen.options import Hyperparameters
from textgen.plan import Plan

WORDS = "the cat sat on a mat and the dog ran to the man who had a hat. 我是一名程序员，"
TEXT = "".join(WORDS[i % 7 * 3 :] + WORDS[: i % 11 * 4] for i in range(120))
SMALL = {
    "hidden_size": 24, "embedding_size": 8, "batch_size": 4, "sequence_length": 16, "max_steps": 60,
    "dropout": 0.1, "layers": 2, "seed": 7,
    "precision": "float32",  # not as measured: two trainings are compared bit by bit
}  # fmt: skip


def small(**changes: Any) -> Hyperparameters:
    return Hyperparameters.parse({**SMALL, **changes})


def text_file(folder: Path, text: str = TEXT, name: str = "text.txt") -> Source:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return Source(path)


@dataclass
class Listener:
    """Keeps what a training tells."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def all(self, kind: str) -> list[Mapping[str, Any]]:
        return [event.data for event in self.events if event.type == kind]

    def measurements(self) -> list[dict[str, Any]]:
        """What was measured, but for how long it took."""
        return [
            {name: value for name, value in metrics.items() if name != "seconds"}
            for metrics in self.all("metrics")
        ]

    @property
    def plan(self) -> Plan:
        return Plan.parse(self.all("plan")[0]["plan"])


def outcome(path: Path) -> tuple[Bundle, dict[str, Any]]:
    """A bundle, and what must be the same in one that was made by an interrupted training."""
    bundle = load_bundle(path)
    return bundle, bundle.header.model_dump(mode="json", exclude={"created"})


def same_weights(first: Bundle, second: Bundle) -> bool:
    others = second.model.state_dict()
    return all(torch.equal(value, others[name]) for name, value in first.model.state_dict().items())
