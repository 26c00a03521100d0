"""``textgen alias``: names of your own for models."""

from __future__ import annotations

import click

from web.cli.api import connect, path_of
from web.cli.completion import aliases, models
from web.cli.language import _
from web.cli.terminal import ago, json_option, print_json, print_table


@click.command(epilog="Example: textgen alias novels ft:lstm-auto:…")
@click.argument("name", required=False, shell_complete=aliases)
@click.argument("model", required=False, shell_complete=models)
@click.option("--remove", is_flag=True, help="Forget the name; the model stays.")
@json_option
def alias(name: str | None, model: str | None, remove: bool, as_json: bool) -> None:
    """Let NAME mean MODEL from now on; with NAME alone show it, with neither list all."""
    if remove and (name is None or model is not None):
        raise click.UsageError(_("--remove needs NAME and nothing else."))
    api = connect()
    if name is None:
        found = api.get("/v1/aliases")["data"]
        rows = [(each["id"], each["model"], ago(each["updated_at"])) for each in found]
        if as_json:
            print_json(found)
        else:
            empty = _("No names yet: textgen alias NAME MODEL")
            print_table((_("name"), _("model"), _("set")), rows, empty)
        return
    path = path_of("aliases", name)
    if remove:
        answer = api.delete(path)
    else:
        answer = api.get(path) if model is None else api.put(path, {"model": model})
    if as_json:
        print_json(answer)
    elif remove:
        click.echo(_("%(name)s is forgotten") % {"name": name})
    else:
        told = {"name": answer["id"], "model": answer["model"]}
        click.echo(_("%(name)s is %(model)s") % told)
