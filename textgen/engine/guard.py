"""A rule that forbids tokens by what a text has so far."""

from __future__ import annotations

from abc import ABC, abstractmethod

from textgen.engine.vocabulary import Ids


class Guard(ABC):
    """One rule for one text."""

    @abstractmethod
    def banned(self) -> Ids:
        """The tokens that may not be drawn next, each once."""

    @abstractmethod
    def push(self, token: int) -> None:
        """Follow the text by the token that was drawn."""
