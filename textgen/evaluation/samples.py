"""Texts that a model draws by itself, how varied they are, and what of them it has by heart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from textgen.bundles.bundle import Bundle
from textgen.corpus.documents import Dialogue, Document, text_of, texts_of
from textgen.engine.engine import Engine, Request
from textgen.errors import InvalidInput
from textgen.evaluation.diversity import distinct, repetition
from textgen.evaluation.memorisation import CorpusIndex, Overlap, distribution
from textgen.evaluation.report import Diversity, Overlaps
from textgen.evaluation.text import MeasuredText
from textgen.options import SamplingOptions

_SLOTS = 64
_SHOWN = 1000  # characters of an overlap
_CHARACTERS, _WORDS = (2, 4, 8), (1, 2, 3)  # lengths of n-grams
_SPACED = 0.05  # share of spaces from which a text is taken to have words


def draw(
    bundle: Bundle,
    prompts: Sequence[str],
    count: int,
    options: SamplingOptions,
    *,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> list[str]:
    """``count`` texts after ``prompts`` in turn, each another; the same for the same ``seed``."""
    engine = Engine(bundle, slots=min(_SLOTS, count), interactive_reserve=0, queue=count)
    for number in range(count):
        prompt = engine.tokenizer.encode(prompts[number % len(prompts)])
        engine.submit(Request(str(number), prompt, options, seed, choice=number))
    texts = [""] * count
    while engine.busy:
        on_step()
        for delta in engine.step():
            texts[int(delta.id)] += delta.text
    return texts


def prompts_for(text: MeasuredText, most: int) -> list[str]:
    """What to ask a model: what its documents begin with where they are turns, else nothing."""
    asked = (_question(each) for each in text.documents if isinstance(each, Dialogue))
    return list(dict.fromkeys(question for question in asked if question))[:most] or [""]


def _question(dialogue: Dialogue) -> str:
    """What comes before the first answer: a prompt, or what the user says first."""
    turns = dialogue.turns
    return next((turn.text for turn in turns if turn.mark in (None, "user")), "")


def alike(samples: Sequence[str], text: MeasuredText) -> list[str]:
    """A piece of the real text for each sample, as long as it where that can be.

    Pieces of one text are evenly spaced, and none overlap; of documents each is the beginning of
    what counts in one. Empty where there is too little text.
    """
    if text.documents:
        if len(text.said) < len(samples):
            return []
        return [
            text.said[number * len(text.said) // len(samples)][: len(sample)]
            for number, sample in enumerate(samples)
        ]
    spare = len(text.text) - sum(map(len, samples))
    if spare < 0:
        return []
    pieces: list[str] = []
    place = 0
    for number, sample in enumerate(samples):
        start = place + spare * number // len(samples)
        pieces.append(text.text[start : start + len(sample)])
        place += len(sample)
    return pieces


def diversity(samples: Sequence[str], real: Sequence[str]) -> Iterator[Diversity]:
    """Of n-grams of characters, and of words where the samples have spaces enough."""
    for n in _CHARACTERS:
        yield from _of_grams("characters", n, samples, real)
    joined = "".join(samples)
    if joined.count(" ") >= _SPACED * len(joined) > 0:
        words, real_words = ([each.split() for each in texts] for texts in (samples, real))
        for n in _WORDS:
            yield from _of_grams("words", n, words, real_words)


def _of_grams(
    unit: str, n: int, samples: Sequence[Sequence[str]], real: Sequence[Sequence[str]]
) -> Iterator[Diversity]:
    """Nothing where no sample has so many symbols."""
    try:
        found = distinct(samples, n), repetition(samples, n)
    except InvalidInput:
        return
    of_text: tuple[float, float] | tuple[None, None] = (None, None)
    with suppress(InvalidInput):
        of_text = distinct(real, n), repetition(real, n)
    yield Diversity.parse(
        {
            "unit": unit,
            "n": n,
            "distinct": found[0],
            "repetition": found[1],
            "distinct_of_text": of_text[0],
            "repetition_of_text": of_text[1],
        }
    )


def overlaps(
    index: CorpusIndex, texts: Iterable[str], on_text: Callable[[], None] = lambda: None
) -> Overlaps | None:
    """What of ``texts`` stands in the indexed text; None where there are none."""
    found: list[Overlap] = []
    for text in texts:
        on_text()
        found.append(index.longest_overlap(text))
    if not found:
        return None
    figures = distribution(found)
    return Overlaps(
        count=figures.samples,
        mean=figures.mean,
        median=figures.median,
        percentile_90=figures.percentile_90,
        percentile_99=figures.percentile_99,
        longest=figures.longest.characters,
        text=figures.longest.text[:_SHOWN],
    )


def limited(documents: Iterable[Document], most: int, *, separate: bool) -> tuple[list[str], int]:
    """The texts of the first documents, up to ``most`` characters, and how many are left out.

    Pieces of one text are joined, turns of a dialogue are texts of their own.
    """
    texts: list[str] = []
    room, left_out = most, 0
    for document in documents:
        if room == 0:
            left_out += len(text_of(document))
            continue
        for text in texts_of(document):
            texts.append(text[:room])
            left_out += len(text) - len(texts[-1])
            room -= len(texts[-1])
    texts = [text for text in texts if text]
    return (texts if separate else ["".join(texts)]), left_out
