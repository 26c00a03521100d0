"""Which columns of a table hold its texts, prompts, completions, messages and labels.

One table of rules for CSV and Parquet: the options that name columns first, then usual names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textgen.errors import InvalidCorpus


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """The columns that somebody named; None: those with the usual names."""

    column: str | None = None
    prompt_column: str | None = None
    completion_column: str | None = None
    label_column: str | None = None
    labels: bool = True  # False: labels are left aside


def choose_columns(
    shown: str, header: Sequence[str], options: ColumnOptions, *, messages: Sequence[str] = ()
) -> Mapping[str, str]:
    """The key of a row (``text``, ``label``, …, as in JSON lines) → the name of its column.

    ``messages`` are those columns that can hold conversations. InvalidCorpus ``missing_column``,
    which names the columns that ``shown`` has and the option to name one with.
    """
    named = options.prompt_column is not None or options.completion_column is not None
    if named and options.label_column is not None:
        raise InvalidCorpus(
            "'label_column' is given together with the columns of prompts and completions; rows "
            "have either labels or completions. Leave one of them out.",
            param="label_column",
        )
    plain = options.column is None and options.label_column is None and "text" not in header
    if plain and not named and "messages" in messages:
        return {"messages": _only(shown, header, "messages", "column")}
    if named or (plain and {"prompt", "completion"} <= {*header}):
        prompt, completion = options.prompt_column, options.completion_column
        return {
            "prompt": _only(shown, header, prompt or "prompt", "prompt_column"),
            "completion": _only(shown, header, completion or "completion", "completion_column"),
        }
    wanted = options.column
    if wanted is None:
        wanted = header[0] if len(header) == 1 else "text"
    column = _only(shown, header, wanted, "column")
    if column in messages:
        return {"messages": column}
    label = options.label_column
    if label is None and options.column is None and "label" in header:
        label = "label"
    if label is None or not options.labels:
        return {"text": column}
    return {"text": column, "label": _only(shown, header, label, "label_column")}


def _only(shown: str, header: Sequence[str], wanted: str, option: str) -> str:
    """``wanted``, where one column alone has that name."""
    if header.count(wanted) == 1:
        return wanted
    problem = "no column" if wanted not in header else "more than one column"
    columns = ", ".join(short(name) for name in header[:20])
    raise InvalidCorpus(
        f"{shown} has {problem} named {short(wanted)}; its columns are {columns}. "
        f"Name the right one in the option {option!r}.",
        code="missing_column",
        param=option,
    )


def short(value: str) -> str:
    """A name or value as messages show it."""
    return repr(value if len(value) <= 40 else value[:37] + "...")
