"""What is told of a corpus that is ready."""

from __future__ import annotations

from textgen.corpus.dataset import EncodedCorpus
from textgen.events import Event, Level, OnEvent

FEWEST_ROWS = 10  # of a class to learn from; fewer are warned of
_SHOWN = 10


def tell(corpus: EncodedCorpus, how: str, on_event: OnEvent) -> None:
    """Tell what a corpus holds, and of labelled rows how they are spread over the classes."""
    on_event(_corpus_event(corpus, how))
    if corpus.kind == "labels":
        on_event(class_balance(corpus))


def _corpus_event(corpus: EncodedCorpus, how: str) -> Event:
    data = corpus.as_dict()
    unknown = data["unknown"]
    message = (
        f"{how}: {data['characters']:,} characters ({data['encoding']}) as {data['tokens']:,} "
        f"tokens of {data['vocab_size']:,} kinds, {corpus.splits['valid'].tokens:,} of them for "
        "validation"
    )
    if unknown:
        message += f"; {unknown:,} characters are unknown to the tokenizer"
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
