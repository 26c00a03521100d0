"""``textgen chat``: a conversation with a model that learnt from conversations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from web.cli.api import Api, RequestFailed, connect
from web.cli.generate import defaults_of
from web.cli.sampling import chosen_from, sampling_options

Messages = list[dict[str, str]]


@click.command(epilog='Example: textgen chat helper "What does the cow say?"')
@click.argument("model")
@click.argument("message", default="")
@click.option("--system", help="What comes before the conversation, as in training.")
@sampling_options
def chat(model: str, message: str, system: str | None, **given: Any) -> int:
    """Talk with MODEL: it replies to MESSAGE, or without one to each line that it is given.

    All that was said before is read again with every line. An empty line begins anew.
    """
    api = connect()
    body = {"model": model, **_defaults(api, model), **chosen_from(given)}
    opening: Messages = [] if system is None else [{"role": "system", "content": system}]
    if message:
        _reply(api, body, [*opening, {"role": "user", "content": message}])
        return 0
    said = list(opening)
    for line in _lines():
        if not line:
            said = list(opening)
            continue
        said.append({"role": "user", "content": line})
        said.append({"role": "assistant", "content": _reply(api, body, said)})
    return 0


def _defaults(api: Api, model: str) -> dict[str, Any]:
    """The model's own, but for a bound: a reply ends by itself."""
    found = defaults_of(api, model)
    return {name: value for name, value in found.items() if name not in ("max_tokens", "stop")}


def _lines() -> Iterator[str]:
    """What is typed, or standard input line by line."""
    while True:
        if sys.stdin.isatty():
            click.secho("> ", nl=False, bold=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line.strip()


def _reply(api: Api, body: dict[str, Any], messages: Messages) -> str:
    """Print the reply as it is made."""
    text = ""
    try:
        stream = {**body, "messages": messages, "stream": True}
        for chunk in api.stream("/v1/chat/completions", stream):
            for choice in chunk["choices"]:
                new = choice["delta"].get("content", "")
                text += new
                click.echo(new, nl=False)
    except RequestFailed:
        click.echo()
        raise
    click.echo()
    return text
