"""``textgen train``: a file becomes a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from textgen.options import AUTO_PRESET, Hyperparameters
from web.cli.api import Api, connect, path_of
from web.cli.completion import bases
from web.cli.follow import Left, follow
from web.cli.language import _, named, padded, said
from web.cli.losses import losses_of
from web.cli.options import set_option, values_of
from web.cli.terminal import json_option, notes, print_json
from web.cli.uploads import files_for_a_request

DEFAULT_SECONDS = 300.0
LIMITS = ("max_seconds", "max_steps", "n_epochs")


def read_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``key=value`` pairs as checked hyperparameters; raises InvalidOption, naming the key."""
    return Hyperparameters.parse(values_of(pairs, "layers=2")).model_dump(
        mode="json", exclude_unset=True
    )


def choose(pairs: tuple[str, ...], max_seconds: float | None) -> dict[str, Any]:
    """The hyperparameters to send: five minutes unless something else limits the training."""
    chosen = read_settings(pairs)
    if max_seconds is not None:
        chosen["max_seconds"] = max_seconds
    elif not any(limit in chosen for limit in LIMITS):
        chosen["max_seconds"] = DEFAULT_SECONDS
    return chosen


@click.command(epilog="Example: textgen train novels.txt --name novels --max-seconds 600")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--name", help="A name of your own for the model; it moves to it when it is done.")
@click.option(
    "--model",
    default=AUTO_PRESET,
    show_default=True,
    shell_complete=bases,
    help="A preset to start from scratch, or the id or name of a model to continue from.",
)
@click.option(
    "--max-seconds",
    type=float,
    help="Seconds of training; at most a quarter more where the machine is busy [default: 300].",
)
@click.option(
    "--validation",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text to measure on; without one, the last tenth of FILE.",
)
@click.option(
    "--test",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text to measure on once, at the end; nothing is chosen by it.",
)
@click.option(
    "--replay",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text that the model to continue from is not to forget; may be given several times. "
    "--set replay_fraction=0.2 alone takes the files that it was trained on.",
)
@click.option(
    "--embeddings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Word vectors to begin with: .vec of fastText, .txt of word2vec or GloVe. They are "
    "trained further; --set freeze_embeddings=true leaves them as they are.",
)
@set_option("layers=2")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@json_option
def train(
    files: tuple[Path, ...],
    name: str | None,
    model: str,
    max_seconds: float | None,
    validation: Path | None,
    test: Path | None,
    replay: tuple[Path, ...],
    embeddings: Path | None,
    pairs: tuple[str, ...],
    detach: bool,
    as_json: bool,
) -> int:
    """Train a model on FILE (.txt, .jsonl, .csv or .parquet) and show how it goes.

    Several files are one corpus, in their order; they must be of one kind.
    Ctrl-C stops watching, not the training.
    """
    hyperparameters = choose(pairs, max_seconds)
    api, console = connect(), notes()
    with files_for_a_request(api, console) as store:
        first, *more = [store(path, "fine-tune") for path in files]
        body: dict[str, Any] = {
            "model": model,
            "training_file": first,
            "training_files": more,
            "hyperparameters": hyperparameters,
        }
        for field, path in (("validation_file", validation), ("test_file", test)):
            if path is not None:
                body[field] = store(path, "fine-tune")
        if embeddings is not None:
            body["embeddings_file"] = store(embeddings, "user_data")
        if replay:
            body["replay_files"] = [store(path, "fine-tune") for path in replay]
        if name is not None:
            body["alias"] = name
        job = api.post("/v1/fine_tuning/jobs", body)
    names = ", ".join(file.name for file in files)
    console.print(
        _("Training %(job)s on %(files)s") % {"job": job["id"], "files": names}, soft_wrap=True
    )
    if detach:
        return _detached(job, console, as_json)
    return watch(api, job["id"], name, console, as_json)


def watch(api: Api, job_id: str, name: str | None, console: Console, as_json: bool) -> int:
    """Follow a training to its end and print what to do with it; the exit code."""
    try:
        job = follow(api, job_id, console)
    except Left:
        say_how_to_come_back(console, job_id)
        return 1
    say_losses(api, job_id, console)
    if as_json:
        print_json(job)
    if job["state"] == "succeeded" and not as_json:
        trained = api.get(f"/v1/fine_tuning/jobs/{job_id}")
        model = trained["fine_tuned_model"]
        objectives = api.get(path_of("models", model)).get("objectives")
        say_done(model, name, "classify" if objectives == ["classify"] else "generate")
    if job["state"] != "succeeded":
        say_not_done(console, job)
    return 0 if job["state"] == "succeeded" else 1


def say_losses(api: Api, job_id: str, console: Console) -> None:
    """Print how the losses of a training fell."""
    for name, line in losses_of(api, job_id).lines().items():
        console.print(f"  {padded(name, 15)} {line}", style="cyan", soft_wrap=True)


def say_done(model: str, name: str | None, command: str = "generate") -> None:
    """Print the new model and the command that uses it."""
    click.echo(_("Done: %(result)s") % {"result": model})
    further = f'textgen {command} {model if name is None else name} "…"'
    click.echo(_("Next: %(command)s") % {"command": further})


def say_not_done(console: Console, job: dict[str, Any]) -> None:
    """Say how a job ended and what can be done."""
    job_id, error = job["id"], job.get("error")
    names = {"job": job_id}
    if error:
        problem = _("%(job)s failed: %(message)s") % {**names, "message": said(error["message"])}
        console.print(problem, style="red", soft_wrap=True)
        console.print(_("Its events: textgen jobs logs %(job)s") % names, soft_wrap=True)
    elif job["state"] == "paused":
        told = _("%(job)s is paused. Go on: textgen jobs resume %(job)s") % names
        console.print(told, soft_wrap=True)
    else:
        told = _("%(job)s was %(state)s.") % {**names, "state": named(job["state"])}
        console.print(told, soft_wrap=True)


def say_how_to_come_back(console: Console, job_id: str) -> None:
    """The job goes on; how to watch it again, or stop it."""
    again = f"textgen jobs show {job_id} --follow"
    told = _("The job goes on. Watch it again: %(command)s") % {"command": again}
    console.print(f"\n{told}", soft_wrap=True)
    console.print(
        _("Stop it: %(command)s") % {"command": f"textgen jobs cancel {job_id}"}, soft_wrap=True
    )


def succeeded(api: Api, job_id: str, console: Console) -> bool:
    """Watch a job to its end; whether it did its work. What else happened is said."""
    try:
        job = follow(api, job_id, console)
    except Left:
        say_how_to_come_back(console, job_id)
        return False
    if job["state"] != "succeeded":
        say_not_done(console, job)
        return False
    return True


def _detached(job: dict[str, Any], console: Console, as_json: bool) -> int:
    if as_json:
        print_json(job)
    else:
        click.echo(job["id"])
        again = f"textgen jobs show {job['id']} --follow"
        console.print(_("Watch it: %(command)s") % {"command": again}, soft_wrap=True)
    return 0
