"""What is told of an encoded corpus: its figures, and what of it should be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from textgen.corpus.dataset import EncodedCorpus
from textgen.events import Event, Level

FEWEST_ROWS = 10  # of a class to learn from; fewer are warned of
_SHOWN = 10
MUCH_OVERLAP = 0.1  # of the validation's passages; Tang poems share 0.03, Shakespeare none


def corpus_events(corpus: EncodedCorpus, how: str = "Encoded") -> Iterator[Event]:
    """The event ``corpus``, before it what options and files gave cause to say, then classes."""
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
    if corpus.kind == "labels":
        yield class_balance(corpus)


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


def class_balance(corpus: EncodedCorpus) -> Event:
    """The rows of each class in each part; a warning where a class has very few to learn from."""
    rows = {
        name: {label: sizes.classes.get(label, 0) for label in corpus.labels}
        for name, sizes in corpus.splits.items()
    }
    train = rows["train"]
    order = sorted(train, key=lambda label: (-train[label], label))
    rare = [label for label in reversed(order) if train[label] < FEWEST_ROWS]
    shown = ", ".join(f"{label} {train[label]:,}" for label in order[:_SHOWN])
    more = f" and {len(order) - _SHOWN:,} more" if len(order) > _SHOWN else ""
    message = f"{len(order):,} classes to learn: {shown}{more}"
    if rare:
        named = ", ".join(f"{label} {train[label]}" for label in rare[:_SHOWN])
        message += (
            f"; {len(rare):,} of them with fewer than {FEWEST_ROWS} rows, too few to learn well: "
            f"{named}"
        )
    data = {"labels": list(corpus.labels), "rows": rows, "rare": rare}
    return Event("classes", message, "warn" if rare else "info", data)
