"""``textgen doctor``: is this file worth training on? Nothing leaves the machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from textgen.corpus.corpus_events import MUCH_OVERLAP, overlap_message
from textgen.corpus.doctor import examine
from textgen.corpus.sources import Source
from textgen.options import AUTO_PRESET, Hyperparameters
from textgen.presets import DEFAULT_SECONDS
from web.cli.forecast import forecast_apart
from web.cli.language import _, reported
from web.cli.terminal import json_option, print_json, span
from web.cli.train import LIMITS, read_settings
from worker.billing.plans_file import load_terms
from worker.processes.cores import available_cores
from worker.settings import load_settings
from worker.usage.quantities import Quantities

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="Example: textgen doctor novels.txt --seconds 600")
@click.argument("file", type=FILE)
@click.option(
    "--seconds",
    "--max-seconds",
    "seconds",
    type=float,
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Time to train.",
)
@click.option("--model", default=AUTO_PRESET, show_default=True, help="The preset to train.")
@click.option("--column", help="The text column of a .csv or .parquet file.")
@click.option("--encoding", help="Of the file; detected where not given.")
@click.option("--validation", type=FILE, help="The text that the training would be measured on.")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any hyperparameter of the training; may be given several times.",
)
@click.option(
    "--measure/--no-measure",
    default=True,
    show_default=True,
    help="Whether to begin the training, so as to say how long it will take here.",
)
@json_option
def doctor(
    file: Path,
    seconds: float,
    model: str,
    column: str | None,
    encoding: str | None,
    validation: Path | None,
    pairs: tuple[str, ...],
    measure: bool,
    as_json: bool,
) -> None:
    """Look FILE over before training on it: what is odd in it, what to choose, how long it takes.

    The time is that of a training on this machine as busy as it is now.
    """
    given = read_settings(pairs)
    given |= {"column": column} if column else {}
    given |= {"encoding": encoding} if encoding else {}
    if not any(limit in given for limit in LIMITS):
        given["max_seconds"] = seconds
    wanted = Hyperparameters.parse(given)
    seconds = wanted.max_seconds or seconds
    report = examine(Source(file).read_as(wanted), seconds, threads=available_cores())
    found: dict[str, Any] | None = None
    if measure:
        found = forecast_apart(
            file, model, wanted, threads=available_cores(), validation=validation
        )
    if as_json:
        print_json({**report.as_dict(), "forecast": found})
        return
    copied = found is not None and (found["corpus"]["overlap"] or 0) > MUCH_OVERLAP
    text = report.as_text(estimated=found is None, sound=not copied)
    click.echo("\n".join(map(told, text.splitlines())))
    if found is not None:
        click.echo("\n".join(forecast_lines(model, found)))
        costs = cost_line(found)
        if costs is not None:
            click.echo(costs)


def told(line: str) -> str:
    """A line of the report in the reader's language, as far to the right as it was."""
    words = line.lstrip(" -")
    parts = words.split(", ")
    shares = [reported(part) for part in parts]  # of kinds of characters
    known = all(share != part for share, part in zip(shares, parts, strict=True))
    return line[: len(line) - len(words)] + (_(", ").join(shares) if known else reported(words))


def cost_line(found: dict[str, Any]) -> str | None:
    """What the forecast costs at the prices of this machine's plans file, where there is one."""
    prices = load_terms(load_settings().plans_file).prices
    told = []
    for currency in sorted({each.currency for each in prices.lists}):
        used = Quantities(requests=1, compute_seconds=float(found["seconds"]))
        amount = prices.cost(currency, "trainings", used, time.time())
        told.append(f"{amount:.4f} {currency}")
    if not told:
        return None
    amounts = _(" or ").join(told)
    return "  " + _("It would cost about %(amounts)s for its time") % {"amounts": amounts}


def forecast_lines(model: str, found: dict[str, Any]) -> list[str]:
    """A forecast for people."""
    corpus = found["corpus"]
    coverage, overlap = corpus["coverage"], corpus["overlap"]
    lines = [
        _("A training of %(model)s here takes about %(time)s:")
        % {"model": model, "time": span(found["seconds"])},
        "  "
        + _(
            "%(model)s, %(steps)s steps of %(milliseconds)s ms on %(threads)s threads; "
            "%(preparing)s to read and plan, %(validating)s to validate"
        )
        % {
            "model": found["model"],
            "steps": f"{found['steps']:,}",
            "milliseconds": f"{found['step_seconds'] * 1e3:.1f}",
            "threads": found["threads"],
            "preparing": span(found["preparing_seconds"]),
            "validating": span(found["validating_seconds"]),
        },
        "  "
        + _(
            "tokenizer %(tokenizer)s, %(ids)s ids: %(unknown)s of the validation's characters are "
            "unknown to it, %(spelt)s spelt in bytes"
        )
        % {
            "tokenizer": corpus["tokenizer"],
            "ids": f"{corpus['vocab_size']:,}",
            "unknown": f"{coverage['unknown']:.2%}",
            "spelt": f"{coverage['spelt']:.2%}",
        },
    ]
    if overlap is not None:
        shared = _("%(share)s of the validation text stands in the training text too")
        lines.append("  " + shared % {"share": f"{overlap:.1%}"})
        if overlap > MUCH_OVERLAP:
            lines.append(told(f"  - {overlap_message(overlap)}"))
    return lines
