"""``textgen models``: what there is to train and to generate from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from web.cli.api import connect, path_of, save
from web.cli.completion import model_argument, trained_models
from web.cli.deletions import confirm_deletion, yes_option
from web.cli.language import _, named
from web.cli.terminal import ago, json_option, notes, print_json, print_table

_CHECKPOINT = ":ckpt-step-"  # in the id of what a training kept on its way


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """Models; without a command, list them."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, checkpoints=False, as_json=False)


@models.command("list", epilog="Example: textgen models list --checkpoints")
@click.option("--checkpoints", is_flag=True, help="Also what trainings kept on their way.")
@json_option
def show_list(checkpoints: bool, as_json: bool) -> None:
    """List presets to train and trained models, with the names that you gave them."""
    api = connect()
    found = [
        model
        for model in api.get("/v1/models")["data"]
        if checkpoints or _CHECKPOINT not in model["id"]
    ]
    if as_json:
        print_json(found)
        return
    names: dict[str, list[str]] = {}
    for alias in api.get("/v1/aliases")["data"]:
        names.setdefault(alias["model"], []).append(alias["id"])
    rows = [(each["id"], ", ".join(names.get(each["id"], ())), _about(each)) for each in found]
    headings = (_("model"), _("name"), "")
    print_table(headings, rows, _("No models yet. Train one: textgen train FILE"))


def _about(model: dict[str, Any]) -> str:
    if model["owned_by"] == "preset":
        return _("preset to train: %(about)s") % {"about": model.get("description", "")}
    loss, when = _loss(model), ago(model["created"])
    if loss is None:
        return _("made %(when)s") % {"when": when}
    return _("made %(when)s, loss %(loss)s") % {"when": when, "loss": f"{loss:.3f}"}


def _loss(model: dict[str, Any]) -> float | None:
    metrics = model.get("metrics") or {}
    for name in ("full_valid_loss", "valid_loss", "train_loss"):
        if metrics.get(name) is not None:
            return float(metrics[name])
    return None


@models.command(epilog="Example: textgen models show novels")
@model_argument
@json_option
def show(model: str, as_json: bool) -> None:
    """Show a model (an id or a name of your own)."""
    found = connect().get(path_of("models", model))
    if as_json:
        print_json(found)
        return
    rows: list[tuple[str, object]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            rows += [(named(f"{name}.{inner}"), one) for inner, one in value.items()]
        elif value is not None and name != "object":
            rows.append((named(name), value))
    print_table(("", ""), rows, "")


@models.command(epilog="Example: textgen models export novels --out novels.safetensors")
@model_argument
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@json_option
def export(model: str, out: Path | None, as_json: bool) -> None:
    """Download a trained model as one safetensors file, with its tokenizer in it.

    The file is one of the service's own, which `textgen models import` takes anywhere.
    """
    api = connect()
    found = api.get(path_of("models", model))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", found["id"])
    target = Path(f"{name}.safetensors") if out is None else out
    save(api, path_of("models", found["id"], "content"), target)
    if as_json:
        print_json({"model": found["id"], "path": str(target), "bytes": target.stat().st_size})
    else:
        click.echo(str(target))


@models.command("import", epilog="Example: textgen models import novels.safetensors --name novels")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="A name of your own for the model.")
@click.option("--suffix", help="Becomes a part of the model's id.")
@json_option
def take_in(file: Path, name: str | None, suffix: str | None, as_json: bool) -> None:
    """Take in a model that `textgen models export` has written; all of it is checked first."""
    fields = {"alias": name, "suffix": suffix}
    given = {field: value for field, value in fields.items() if value is not None}
    with (
        Progress(console=notes(), transient=True) as progress,
        progress.open(
            file, "rb", description=_("uploading %(file)s") % {"file": file.name}
        ) as source,
    ):
        found = connect().send("/v1/models", file.name, source, given)
    if as_json:
        print_json(found)
    else:
        click.echo(found["id"])


@models.command(epilog="Example: textgen models rm ft:lstm-auto:…")
@click.argument("model", shell_complete=trained_models)
@yes_option
@json_option
def rm(model: str, yes: bool, as_json: bool) -> None:
    """Delete a trained model for good; says first what has used it."""
    api = connect()
    used = api.get(path_of("uses", "models", model))  # its own id, where an alias was given
    confirm_deletion(used, yes)
    answer = api.delete(path_of("models", used["id"]))
    if as_json:
        print_json(answer)
    else:
        click.echo(_("Deleted %(id)s") % {"id": answer["id"]})
