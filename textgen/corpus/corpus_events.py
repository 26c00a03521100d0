"""What is told of an encoded corpus: its figures, and what of it should be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from textgen.corpus.dataset import EncodedCorpus
from textgen.events import Event, Level

MUCH_OVERLAP = 0.1  # of the validation's passages; Tang poems share 0.03, Shakespeare none


def corpus_events(corpus: EncodedCorpus, how: str = "Encoded") -> Iterator[Event]:
    """The event ``corpus``, and before it what options and files gave cause to say."""
    facts = corpus.facts
    if facts.left_out:
        copies, near = facts.left_out["copies"], facts.left_out["near"]
        message = f"Left out {copies:,} copies and {near:,} near copies of earlier documents"
        yield Event("duplicates", message, data=dict(facts.left_out))
    if facts.masked:
        found = ", ".join(f"{kind} {count:,}" for kind, count in facts.masked.items())
        yield Event("personal_data", f"Masked: {found}", data={"masked": dict(facts.masked)})
    if facts.overlap is not None and facts.overlap > MUCH_OVERLAP:
        yield Event("overlap", overlap_message(facts.overlap), "warn", {"overlap": facts.overlap})
    yield _figures(corpus, how)


def overlap_message(overlap: float) -> str:
    """For people."""
    return (
        f"{overlap:.0%} of the validation text stands in the training text too, in passages of 32 "
        "bytes and more: its loss will look better than it is. Give a validation file that has "
        "nothing of the training in it, or leave copies out ('deduplicate')"
    )


def _figures(corpus: EncodedCorpus, how: str) -> Event:
    data = corpus.as_dict()
    unknown, spelt = data["unknown"], data["coverage"]["spelt"]
    message = (
        f"{how}: {data['characters']:,} characters ({data['encoding']}) as {data['tokens']:,} "
        f"tokens of {data['vocab_size']:,} kinds, {corpus.splits['valid'].tokens:,} of them for "
        "validation"
    )
    if unknown:
        message += f"; {unknown:,} characters are unknown to the tokenizer"
    if spelt >= 0.001 and corpus.tokenizer.name != "byte":
        message += f"; {spelt:.1%} of the characters are spelt in bytes"
    # One in a hundred unknown: the model would be of little use for such a text.
    level: Level = "warn" if unknown * 100 > data["characters"] else "info"
    return Event("corpus", message, level, data)
