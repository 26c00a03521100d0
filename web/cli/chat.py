"""``textgen chat``: a conversation with a model that learnt from conversations.

Each turn goes on from the state of the one before, in constant time; where the server has forgotten
it the whole conversation is sent.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from web.cli.api import Api, RequestFailed, connect
from web.cli.completion import model_argument
from web.cli.generate import defaults_of
from web.cli.going_on import StateStreams
from web.cli.language import _
from web.cli.sampling import chosen_from, sampling_options
from web.cli.terminal import json_option, piped

Message = dict[str, str]
UNDO = "/undo"


@click.command(epilog='Example: textgen chat helper "What does the cow say?"')
@model_argument
@click.argument("message", default="")
@click.option("--system", help="What comes before the conversation, as in training.")
@sampling_options
@json_option
def chat(model: str, message: str, system: str | None, as_json: bool, **given: Any) -> int:
    """Talk with MODEL: it replies to MESSAGE, or without one to each line that it is given.

    An empty line begins anew; /undo takes back the last line and its reply. With --json each reply
    is a line of JSON, once it is whole.
    """
    api = connect()
    body = {"model": model, **_defaults(api, model), **chosen_from(given)}
    opening = () if system is None else ({"role": "system", "content": system},)
    talk = Talk(api, body, opening, as_json)
    if message:
        talk.say(message)
        return 0
    for line in _lines():
        if not line:
            talk = Talk(api, body, opening, as_json)
        elif line == UNDO:
            talk.undo()
        else:
            talk.say(line)
    return 0


def _defaults(api: Api, model: str) -> dict[str, Any]:
    """The model's own, but for a bound: a reply ends by itself."""
    found = defaults_of(api, model)
    return {name: value for name, value in found.items() if name not in ("max_tokens", "stop")}


def _lines() -> Iterator[str]:
    """What is typed, or standard input line by line."""
    while True:
        if sys.stdin.isatty():
            click.secho("> ", nl=False, bold=True, err=piped())
        line = sys.stdin.readline()
        if not line:
            return
        yield line.strip()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation stands: all that was said, and the state after it."""

    said: tuple[Message, ...]
    state: str | None = None


class Talk:
    """A conversation and every place that it was at."""

    def __init__(
        self, api: Api, body: Mapping[str, Any], opening: tuple[Message, ...], as_json: bool = False
    ) -> None:
        self._streams = StateStreams(api, "/v1/chat/completions")
        self._body = body
        self._as_json = as_json
        self._places = [Place(opening)]

    def say(self, text: str) -> None:
        """Print the reply as it is made, or as JSON."""
        place, message = self._places[-1], {"role": "user", "content": text}
        said = (*place.said, message)
        further, whole = {"messages": [message]}, {"messages": said}
        reply, state = "", None
        try:
            for chunk in self._streams.stream(
                place.state, {**self._body, **further}, {**self._body, **whole}
            ):
                for choice in chunk["choices"]:
                    new = choice["delta"].get("content", "")
                    reply += new
                    state = choice.get("state_id") or state
                    if not self._as_json:
                        click.echo(new, nl=False)
        except RequestFailed:
            if not self._as_json:
                click.echo()
            raise
        answer = {"role": "assistant", "content": reply}
        click.echo(json.dumps(answer, ensure_ascii=False) if self._as_json else "")
        self._places.append(Place((*said, answer), state))

    def undo(self) -> None:
        """Back to before the last line; at the beginning there is nothing to take back."""
        if len(self._places) > 1:
            self._places.pop()
        else:
            click.echo(_("There is nothing to take back."), err=True)
