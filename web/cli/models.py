"""``textgen models``: what there is to train and to generate from."""

from __future__ import annotations

from typing import Any

import click

from web.cli.api import connect, path_of
from web.cli.deletions import confirm_deletion, yes_option
from web.cli.terminal import ago, json_option, print_json, print_table


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """Models; without a command, list them."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, as_json=False)


@models.command("list", epilog="Example: textgen models list")
@json_option
def show_list(as_json: bool) -> None:
    """List presets to train and trained models."""
    found = connect().get("/v1/models")["data"]
    if as_json:
        print_json(found)
        return
    rows = [(model["id"], _about(model)) for model in found]
    print_table(("model", ""), rows, "No models yet. Train one: textgen train FILE")


def _about(model: dict[str, Any]) -> str:
    if model["owned_by"] == "preset":
        return f"preset to train: {model.get('description', '')}"
    loss = _loss(model)
    return f"made {ago(model['created'])}" + ("" if loss is None else f", loss {loss:.3f}")


def _loss(model: dict[str, Any]) -> float | None:
    metrics = model.get("metrics") or {}
    for name in ("full_valid_loss", "valid_loss", "train_loss"):
        if metrics.get(name) is not None:
            return float(metrics[name])
    return None


@models.command(epilog="Example: textgen models show novels")
@click.argument("model")
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
            rows += [(f"{name}.{inner}", one) for inner, one in value.items()]
        elif value is not None and name != "object":
            rows.append((name, value))
    print_table(("", ""), rows, "")


@models.command(epilog="Example: textgen models rm ft:lstm-auto:…")
@click.argument("model")
@yes_option
@json_option
def rm(model: str, yes: bool, as_json: bool) -> None:
    """Delete a trained model for good; says first what has used it."""
    api = connect()
    confirm_deletion(api.get(path_of("uses", "models", model)), yes)
    answer = api.delete(path_of("models", model))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Deleted {answer['id']}")
