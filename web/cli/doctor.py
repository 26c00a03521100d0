"""``textgen doctor``: is this file worth training on? Nothing leaves the machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from textgen.corpus.corpus_events import MUCH_OVERLAP, overlap_message
from textgen.corpus.doctor import examine
from textgen.corpus.sources import source_of
from textgen.options import AUTO_PRESET, Hyperparameters
from web.cli.forecast import forecast_apart
from web.cli.terminal import json_option, print_json, span
from web.cli.train import LIMITS, read_settings
from worker.billing.plans_file import load_terms
from worker.processes.cores import available_cores
from worker.settings import load_settings
from worker.usage.quantities import Quantities

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="Example: textgen doctor novels.txt --seconds 600")
@click.argument("file", type=FILE)
@click.option("--seconds", type=float, default=300.0, show_default=True, help="Time to train.")
@click.option("--model", default=AUTO_PRESET, show_default=True, help="The preset to train.")
@click.option("--column", help="The text column of a .csv file.")
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
    report = examine(source_of(file, wanted), seconds, threads=available_cores())
    found: dict[str, Any] | None = None
    if measure:
        found = forecast_apart(
            file, model, wanted, threads=available_cores(), validation=validation
        )
    if as_json:
        print_json({**report.as_dict(), "forecast": found})
        return
    click.echo(report.as_text())
    if found is not None:
        click.echo("\n".join(forecast_lines(model, found)))
        costs = cost_line(found)
        if costs is not None:
            click.echo(costs)


def cost_line(found: dict[str, Any]) -> str | None:
    """What the forecast costs at the prices of this machine's plans file, where there is one."""
    prices = load_terms(load_settings().plans_file).prices
    told = []
    for currency in sorted({each.currency for each in prices.lists}):
        used = Quantities(requests=1, compute_seconds=float(found["seconds"]))
        amount = prices.cost(currency, "trainings", used, time.time())
        told.append(f"{amount:.4f} {currency}")
    return f"  It would cost about {' or '.join(told)} for its time" if told else None


def forecast_lines(model: str, found: dict[str, Any]) -> list[str]:
    """A forecast for people."""
    corpus = found["corpus"]
    coverage, overlap = corpus["coverage"], corpus["overlap"]
    lines = [
        f"A training of {model} here takes about {span(found['seconds'])}:",
        f"  {found['model']}, {found['steps']:,} steps of {found['step_seconds'] * 1e3:.1f} ms on "
        f"{found['threads']} threads; {span(found['preparing_seconds'])} to read and plan, "
        f"{span(found['validating_seconds'])} to validate",
        f"  tokenizer {corpus['tokenizer']}, {corpus['vocab_size']:,} ids: "
        f"{coverage['unknown']:.2%} of the validation's characters are unknown to it, "
        f"{coverage['spelt']:.2%} spelt in bytes",
    ]
    if overlap is not None:
        lines.append(f"  {overlap:.1%} of the validation text stands in the training text too")
        if overlap > MUCH_OVERLAP:
            lines.append(f"  - {overlap_message(overlap)}.")
    return lines
