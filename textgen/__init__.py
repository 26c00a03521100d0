"""Train small language models on your own text and generate from them.

``from textgen import preprocess_data, TextGenerator, train, generate_text`` is the library in
four names; they load torch when first used, ``import textgen`` alone does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textgen.article import generate_text, make_batches, preprocess_data, train
    from textgen.model import TextGenerator

__all__ = ["TextGenerator", "generate_text", "make_batches", "preprocess_data", "train"]


def __getattr__(name: str) -> Any:
    """Look up a public name where it is defined (PEP 562)."""
    if name in __all__:
        return getattr(import_module("textgen.article"), name)
    raise AttributeError(f"module 'textgen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
