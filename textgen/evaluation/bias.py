"""What changes when one word of a list stands where another stood.

A row with exactly one of the terms, once or several times, is scored as it is and again with each
other term in its place. The gap is what the row then costs more. Real rows are likelier than their
exchanged ones for many reasons, so a gap alone says little: what counts is whether putting "she"
for "he" costs more than the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from textgen.bundles.bundle import Bundle
from textgen.corpus.documents import Dialogue, Document, text_of, texts_of
from textgen.evaluation.report import Bias, Direction, Exchange, TermPair
from textgen.evaluation.scoring import OnStep, score_documents
from textgen.scripts import UNSPACED

FEWEST_FOR_INTERVAL = 10  # rows
_SHOWN = 200  # characters of a row, around the term
# Where a script has no spaces a term is looked for anywhere.
_NO_EDGE = re.compile(rf"[{UNSPACED}\W]")

Gaps = npt.NDArray[np.float64]


class Terms:
    """A list of words that can stand for each other."""

    def __init__(self, terms: Sequence[str]) -> None:
        self.terms = tuple(terms)
        longest_first = sorted(range(len(terms)), key=lambda number: -len(terms[number]))
        parts = (f"(?P<t{number}>{_pattern(terms[number])})" for number in longest_first)
        self._pattern = re.compile("|".join(parts), re.IGNORECASE)

    def in_text(self, text: str) -> set[int]:
        """The numbers of the terms that occur."""
        return {_number(match) for match in self._pattern.finditer(text)}

    def exchanged(self, text: str, other: int) -> str:
        """``text`` with term number ``other`` for every term, in capitals where that was."""
        return self._pattern.sub(
            lambda match: _in_case_of(match[0], self.terms[_number(match)], self.terms[other]), text
        )

    def first(self, text: str) -> int:
        """Where the first term begins, 0 where there is none."""
        match = self._pattern.search(text)
        return 0 if match is None else match.start()


@dataclass
class _Gathered:
    """Gaps of all rows that had one term, with another in its place."""

    gaps: list[float] = field(default_factory=list)
    characters: int = 0


def measure_bias(
    bundle: Bundle,
    documents: Iterable[Document],
    terms: Sequence[str],
    *,
    rows: int,
    shown: int,
    resamples: int,
    seed: int,
    on_step: OnStep = lambda: None,
) -> Bias:
    """Of up to ``rows`` rows with exactly one of ``terms``, each by itself as in ``scoring``."""
    words = Terms(terms)
    chosen: list[tuple[int, Document]] = []
    ambiguous = left_out = 0
    for document in documents:
        found = words.in_text(_text(document))
        if len(found) > 1:
            ambiguous += 1
        elif found and len(chosen) < rows:
            chosen.append((found.pop(), document))
        elif found:
            left_out += 1
    gathered, worst = _gather(bundle, words, chosen, shown, on_step)
    generator = np.random.default_rng(seed)
    means = {pair: _means(each.gaps, resamples, generator) for pair, each in gathered.items()}
    return Bias(
        terms=words.terms,
        rows=len(chosen),
        ambiguous_rows=ambiguous,
        left_out_rows=left_out,
        directions=tuple(
            _direction(words, pair, each, means[pair]) for pair, each in gathered.items()
        ),
        pairs=tuple(_pairs(words, gathered, means)),
        worst=worst,
    )


def _gather(
    bundle: Bundle,
    words: Terms,
    chosen: Sequence[tuple[int, Document]],
    shown: int,
    on_step: OnStep,
) -> tuple[dict[tuple[int, int], _Gathered], tuple[Exchange, ...]]:
    """The gaps by (term, other), and the rows whose gap is farthest from 0."""
    others = range(len(words.terms))

    def variants() -> Iterator[Document]:
        for term, document in chosen:
            yield document
            yield from (_exchange(words, document, o) for o in others if o != term)

    nats = score_documents(bundle, variants(), on_step=on_step)
    gathered: dict[tuple[int, int], _Gathered] = {}
    exchanges: list[Exchange] = []
    for term, document in chosen:
        own = next(nats)
        for other in others:
            if other == term:
                continue
            gap = next(nats) - own
            each = gathered.setdefault((term, other), _Gathered())
            each.gaps.append(gap)
            counts = document.counted if isinstance(document, Dialogue) else len(document)
            each.characters += counts
            exchanges.append(_shown(words, _text(document), other, gap))
            if len(exchanges) > 4 * shown:
                exchanges = _farthest(exchanges, shown)
    return dict(sorted(gathered.items())), tuple(_farthest(exchanges, shown))


def _farthest(exchanges: list[Exchange], count: int) -> list[Exchange]:
    return sorted(exchanges, key=lambda each: -abs(each.gap))[:count]


def _text(document: Document) -> str:
    """To look terms up in and to show: turns on lines of their own, so that no word joins two."""
    return "\n".join(texts_of(document))


def _exchange(words: Terms, document: Document, other: int) -> Document:
    if not isinstance(document, Dialogue):
        return words.exchanged(text_of(document), other)
    return replace(
        document,
        turns=tuple(
            replace(turn, text=words.exchanged(turn.text, other)) for turn in document.turns
        ),
    )


def _shown(words: Terms, text: str, other: int, gap: float) -> Exchange:
    start = max(words.first(text) - _SHOWN // 2, 0)
    part = text[start : start + _SHOWN]
    return Exchange(text=part, exchanged=words.exchanged(part, other), gap=gap)


def _means(gaps: Sequence[float], resamples: int, generator: np.random.Generator) -> Gaps | None:
    """Means of ``gaps`` drawn anew with replacement (resamples,); None for too few."""
    if len(gaps) < FEWEST_FOR_INTERVAL:
        return None
    values = np.array(gaps)
    return np.array(
        [values[generator.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    )


def _interval(means: Gaps | None) -> tuple[float | None, float | None]:
    """The percentile bootstrap's, 95 % (Efron and Tibshirani 1993, 13)."""
    if means is None:
        return None, None
    low, high = np.percentile(means, [2.5, 97.5]).tolist()
    return low, high


def _direction(
    words: Terms, pair: tuple[int, int], found: _Gathered, means: Gaps | None
) -> Direction:
    low, high = _interval(means)
    gaps = np.array(found.gaps)
    return Direction(
        term=words.terms[pair[0]],
        other=words.terms[pair[1]],
        rows=len(gaps),
        gap=float(gaps.mean()),
        low=low,
        high=high,
        gap_per_character=float(gaps.sum()) / max(found.characters, 1),
        likelier=float((gaps < 0).mean()),
    )


def _pairs(
    words: Terms,
    gathered: dict[tuple[int, int], _Gathered],
    means: dict[tuple[int, int], Gaps | None],
) -> Iterator[TermPair]:
    """Half of what one exchange costs more than the other way round."""
    for (term, other), found in gathered.items():
        back = gathered.get((other, term))
        if term > other or back is None:
            continue
        there, here = means[term, other], means[other, term]
        halves = None if there is None or here is None else (there - here) / 2
        low, high = _interval(halves)
        yield TermPair(
            term=words.terms[term],
            other=words.terms[other],
            preference=float(np.mean(found.gaps) - np.mean(back.gaps)) / 2,
            low=low,
            high=high,
        )


def _pattern(term: str) -> str:
    """A whole word, but where the script has no spaces or the term ends in no letter."""
    before = "" if _NO_EDGE.match(term[0]) else r"(?<!\w)"
    after = "" if _NO_EDGE.match(term[-1]) else r"(?!\w)"
    return f"{before}{re.escape(term)}{after}"


def _number(match: re.Match[str]) -> int:
    return int(str(match.lastgroup)[1:])


def _in_case_of(found: str, term: str, other: str) -> str:
    """``other`` in capitals, with one or without, where ``found`` is so and ``term`` is not."""
    if found == term:
        return other
    if found.islower():
        return other.lower()
    if found.isupper() and len(found) > 1:
        return other.upper()
    if found[0].isupper() and not term[0].isupper():
        return other[0].upper() + other[1:]
    return other
