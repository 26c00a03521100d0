"""Completion in the shell: of commands and options by click, of names by what the server has.

While somebody types nothing is waited for long, and nothing is said of a server that is away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import click
import httpx
from click.shell_completion import CompletionItem, get_completion_class

from textgen.errors import TextgenError
from web.cli.api import Api, connect
from web.cli.language import _, named

PATIENCE = httpx.Timeout(connect=0.5, read=2, write=0.5, pool=0.5)
MOST = 100  # names of a kind that are asked for
SHELLS = ("bash", "zsh", "fish")

Item = CompletionItem[str]
Completer = Callable[[click.Context, click.Parameter, str], list[Item]]


@click.command(epilog='Example: eval "$(textgen completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what lets SHELL complete commands, options, and ids and names of the server's things.

    For bash and zsh the line of the example goes into ~/.bashrc or ~/.zshrc (there after compinit);
    for fish: textgen completion fish > ~/.config/fish/completions/textgen.fish
    """
    kind = get_completion_class(shell)
    root = click.get_current_context().find_root()
    assert kind is not None  # noqa: S101  for the type checker: the choice above has it
    click.echo(kind(root.command, {}, "textgen", "_TEXTGEN_COMPLETE").source())


def offered(find: Callable[[Api], Iterator[tuple[str, str]]]) -> Completer:
    """A completer of the names that ``find`` yields, each with a word about it."""

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[Item]:
        with suppress(TextgenError, OSError, LookupError):
            found = find(connect(PATIENCE))
            return [Item(name, help=about) for name, about in found if name.startswith(begun)]
        return []

    return complete


def _trained(api: Api) -> Iterator[tuple[str, str]]:
    for model in api.get("/v1/models")["data"]:
        if model["owned_by"] != "preset":
            yield model["id"], named("model")


def _presets(api: Api) -> Iterator[tuple[str, str]]:
    for model in api.get("/v1/models")["data"]:
        if model["owned_by"] == "preset":
            yield model["id"], named("preset")


def _aliases(api: Api) -> Iterator[tuple[str, str]]:
    for alias in api.get("/v1/aliases")["data"]:
        yield alias["id"], str(alias["model"])


def _named(api: Api) -> Iterator[tuple[str, str]]:
    yield from _aliases(api)
    yield from _trained(api)


def _bases(api: Api) -> Iterator[tuple[str, str]]:
    yield from _presets(api)
    yield from _named(api)


def _files(api: Api) -> Iterator[tuple[str, str]]:
    for file in api.get("/v1/files", limit=MOST)["data"]:
        yield file["id"], str(file["filename"])


def _endpoints(api: Api) -> Iterator[tuple[str, str]]:
    for endpoint in api.get("/v1/webhook_endpoints", limit=MOST)["data"]:
        yield endpoint["id"], str(endpoint["name"])


def jobs_in(*states: str) -> Completer:
    """A completer of the ids of the newest jobs that are in one of the states."""

    def find(api: Api) -> Iterator[tuple[str, str]]:
        for job in api.get("/v1/jobs", limit=MOST)["data"]:
            if job["state"] in states:
                yield job["id"], _(", ").join((named(job["kind"]), named(job["state"])))

    return offered(find)


UNFINISHED = ("queued", "running", "paused")
FINISHED = ("succeeded", "failed", "cancelled")

models = offered(_named)
trained_models = offered(_trained)
bases = offered(_bases)
aliases = offered(_aliases)
files = offered(_files)
endpoints = offered(_endpoints)
jobs = jobs_in(*UNFINISHED, *FINISHED)


def model_argument(command: Any) -> Any:
    """The argument MODEL, an id or a name."""
    return click.argument("model", shell_complete=models)(command)
