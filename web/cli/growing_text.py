"""A text that is written piece by piece by a server, and every place that it was at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from web.cli.api import Api, RequestFailed
from web.cli.going_on import FORGOTTEN, StateStreams
from web.cli.language import _

PART = "bytes:"  # how the text of a part of a character begins
TAIL = 160  # characters that are shown of a long text


@dataclass(frozen=True, slots=True)
class Place:
    """Where the text stands: all of it, the bytes of a character that is not whole, its state."""

    text: str
    part: bytes = b""
    state: str | None = None
    added: str | None = None  # by the reader, before what was written; None: nothing was written


class GrowingText:
    """Calls the server for each step; ``body`` has the model and how text is drawn."""

    def __init__(self, api: Api, body: Mapping[str, Any], text: str) -> None:
        self._api = api
        self._body = dict(body)
        self._seed = self._body.pop("seed", None)
        self._written = 0
        self._streams = StateStreams(api, "/v1/completions")
        self._places = [Place(text)]
        self.branches: dict[str, list[Place]] = {}

    @property
    def text(self) -> str:
        """All of it."""
        return self._places[-1].text

    @property
    def last(self) -> str | None:
        """What the reader added in the last step before the text was written on."""
        return self._places[-1].added

    def tail(self) -> str:
        """The end of the text."""
        return self.text if len(self.text) <= TAIL else "…" + self.text[-TAIL:]

    def write(self, further: str) -> Iterator[str]:
        """Add ``further``, and what the model writes after it, as it is written."""
        place = self._places[-1]
        pieces, state = [], None
        for chunk in self._stream(place, further):
            for choice in chunk["choices"]:
                pieces.append(choice["text"])
                state = choice.get("state_id") or state
                yield choice["text"]
        self._written += 1
        whole = place.text + further + "".join(pieces)
        self._places.append(Place(whole, state=state, added=further))

    def alternatives(self, count: int) -> list[Mapping[str, Any]]:
        """The likeliest next tokens."""
        place = self._places[-1]
        answer = self._next_tokens(place, count)
        self._places[-1] = Place(place.text, place.part, answer["state_id"], place.added)
        return list(answer["data"])

    def pick(self, token: int, text: str, count: int) -> list[Mapping[str, Any]]:
        """Take one of the alternatives, as they were told last; those that may follow it."""
        place = self._places[-1]
        added, part = whole_characters(place.part + token_bytes(text))
        answer = self._next_tokens(place, count, token, place.text + added)
        self._places.append(Place(place.text + added, part, answer["state_id"]))
        return list(answer["data"])

    def undo(self) -> bool:
        """Go back one step; False at the beginning."""
        if len(self._places) == 1:
            return False
        self._places.pop()
        return True

    def keep(self, name: str) -> None:
        """Remember where the text stands, and the way there."""
        self.branches[name] = list(self._places)

    def go(self, name: str) -> bool:
        """Go to a place that was kept; False where there is none of that name."""
        if name not in self.branches:
            return False
        self._places = list(self.branches[name])
        return True

    def _stream(self, place: Place, further: str) -> Iterator[dict[str, Any]]:
        seed = {} if self._seed is None else {"seed": self._seed + self._written}
        body = {**self._body, **seed}
        whole = {**body, "prompt": place.text + further}
        return self._streams.stream(place.state, {**body, "prompt": further}, whole)

    def _next_tokens(
        self, place: Place, count: int, token: int | None = None, whole: str = ""
    ) -> Any:
        """The answer at a place, or after ``token`` there, which makes the text ``whole``."""
        body = {"model": self._body["model"], "top": count}
        if place.state is not None:
            prompt = "" if token is None else [token]
            try:
                return self._api.post(
                    "/v1/next_tokens", {**body, "state_id": place.state, "prompt": prompt}
                )
            except RequestFailed as error:
                if error.code not in FORGOTTEN:
                    raise
        answer = self._api.post("/v1/next_tokens", {**body, "prompt": place.text})
        if token is None:
            return answer
        if answer["state_id"] is None:  # the server keeps none
            return self._api.post("/v1/next_tokens", {**body, "prompt": whole})
        return self._next_tokens(Place(place.text, state=answer["state_id"]), count, token)


def token_bytes(text: str) -> bytes:
    r"""The bytes of a token from its text, which is ``bytes:\xe4`` for a part of a character."""
    if not text.startswith(PART):
        return text.encode()
    return bytes(int(digits, 16) for digits in re.findall(r"\\x([0-9a-f]{2})", text))


def whole_characters(given: bytes) -> tuple[str, bytes]:
    """The characters that the bytes make, and the rest, which makes none yet."""
    for end in range(len(given), max(len(given) - 4, -1), -1):
        try:
            return given[:end].decode(), given[end:]
        except UnicodeDecodeError:
            continue
    return given.decode(errors="replace"), b""


def shown(text: str) -> str:
    """A token as people can read it: white space as it is written in programs."""
    if not text:
        return _("(the end of the text)")
    if text.startswith(PART):
        return _("%(bytes)s (a part of a character)") % {"bytes": text.removeprefix(PART)}
    return repr(text)
