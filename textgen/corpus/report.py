"""What a look at a text found, as values and as a page for people."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from textgen.corpus.copies import COMPARED
from textgen.corpus.oddities import Finding
from textgen.corpus.passages import REPEAT_WINDOW

_CLASSES = 10  # that are named


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What ``lstm-auto`` would take; memory in bytes, ``reasons`` for people."""

    tokenizer: str
    vocab_size: int
    model: str
    parameters: int
    batch_size: int
    memory_bytes: int
    seconds: float
    passes: float  # over the text in that time, about
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToBeat:
    """What counting alone gets: a model that ends above it has learnt less than that."""

    characters: int  # looked at, from the start of the file; a tenth of them was predicted
    kneser_ney: float  # of order 5, nats per character; the end of a document counts as one
    ppm: float  # of order 5, the same

    @property
    def lower(self) -> float:
        """The better of the two."""
        return min(self.kneser_ney, self.ppm)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one file. ``lines`` are the documents where it holds documents."""

    name: str
    format: str
    bytes: int
    encoding: str
    characters: int
    symbols: int
    lines: int
    empty_lines: int
    duplicate_lines: int
    longest_line: int
    length_counts: tuple[tuple[int, int], ...]  # (bound, lines up to it and above the one before)
    line_lengths: dict[str, int]  # "50", "90", "99": as many percent are no longer than this
    letters: dict[str, float]  # the shares of kinds of characters
    commonest: dict[str, float]  # the ten commonest characters with their shares
    covering: dict[str, int]  # "50" to "100": as many symbols make up so many percent of the text
    near_duplicates: int | None  # documents among the first some; None for one text
    repeated: float | None  # of one text, the share that stands in passages that came before
    personal_data: dict[str, int]  # how many places look like each kind
    findings: tuple[Finding, ...]
    suggestion: Suggestion
    times: tuple[Suggestion, ...]  # the same for shorter and longer trainings
    recommended_seconds: float  # the shortest of them that reads the text about three times
    to_beat: ToBeat | None  # None where the text is too short, or it was not asked for
    classes: dict[str, int]  # rows of each label, the commonest first; none where rows have none

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_text(self, *, estimated: bool = True, sound: bool = True) -> str:
        """A page for people.

        ``estimated`` also says what the suggestion is, which something measured may know better;
        ``sound`` that nothing is odd where nothing was found here.
        """
        units = "lines" if self.format in ("text", "lines") else "documents"
        choice = self.suggestion
        head = [
            f"{self.name}: {self.format}, {self.bytes:,} bytes, {self.encoding}",
            f"  {self.characters:,} characters, {self.symbols:,} different ones",
            f"  {self.lines:,} {units}, {self.empty_lines:,} empty, {self.duplicate_lines:,} "
            f"repeated; the longest has {self.longest_line:,} characters",
            f"  half of them have at most {self.line_lengths['50']:,} characters, 90 % "
            f"{self.line_lengths['90']:,}, 99 % {self.line_lengths['99']:,}",
            "  " + ", ".join(f"{share:.1%} {kind}" for kind, share in self.letters.items()),
            *self._classes(),
            *self._repeats(),
        ]
        odd = [f"  - {finding.message}" for finding in self.findings]
        shape = (
            f"  {choice.model} ({choice.parameters:,} weights), tokenizer {choice.tokenizer} with "
            f"{choice.vocab_size:,} ids, about {choice.memory_bytes >> 20:,} MB of memory"
        )
        suggestion = [
            f"For {choice.seconds:,.0f} seconds of training:",
            shape,
            *(f"  {reason}" for reason in choice.reasons),
        ]
        return "\n".join(
            [
                *head,
                *(["To look at:"] if odd else ["Nothing odd was found."] if sound else []),
                *odd,
                *(suggestion if estimated else []),
                *self._to_beat(),
            ]
        )

    def _classes(self) -> list[str]:
        if not self.classes:
            return []
        shown = [f"{label} {count:,}" for label, count in list(self.classes.items())[:_CLASSES]]
        more = len(self.classes) - len(shown)
        names = ", ".join(shown) + (f" and {more:,} more" if more else "")
        return [f"  {len(self.classes):,} classes: {names}"]

    def _repeats(self) -> list[str]:
        lines = []
        if self.near_duplicates:
            where = f"of the first {COMPARED:,} characters " if self.characters > COMPARED else ""
            lines.append(
                f"  {self.near_duplicates:,} documents {where}are nearly copies of earlier ones; "
                "the option 'deduplicate' leaves copies out"
            )
        if self.repeated is not None and self.repeated >= 0.001:
            lines.append(
                f"  {self.repeated:.1%} of the text stands in passages of {REPEAT_WINDOW} bytes "
                "and more that came before"
            )
        if self.personal_data:
            found = ", ".join(f"{kind} {count:,}" for kind, count in self.personal_data.items())
            lines.append(f"  what looks like personal data: {found}")
        return lines

    def _to_beat(self) -> list[str]:
        found = self.to_beat
        if found is None:
            return []
        return [
            "To beat:",
            f"  {found.lower:.2f} nats a character ({found.lower / math.log(2):.2f} bits) without "
            f"any training, by counting: 5-grams {found.kneser_ney:.2f}, PPM {found.ppm:.2f}",
            f"  (learnt from nine tenths of {found.characters:,} characters, measured on the rest, "
            "where the end of a document counts as a character; "
            "a model whose validation loss ends higher needs more time or more text)",
        ]
