"""Streams that go on from a state where the server has it, and from the whole text elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from web.cli.api import Api, RequestFailed

FORGOTTEN = ("state_not_found", "state_of_another_model", "state_of_other_numerics")


class StateStreams:
    """Asks ``path`` for streams whose last chunk has the state to go on from."""

    def __init__(self, api: Api, path: str) -> None:
        self._api = api
        self._path = path
        self._keeps_states = True

    def stream(
        self, state: str | None, further: Mapping[str, Any], whole: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """The chunks of ``further`` after ``state``, or of ``whole`` where that is forgotten."""
        if state is not None:
            try:
                yield from self._ask({**further, "state_id": state, "return_state": True})
                return
            except RequestFailed as error:
                if error.code not in FORGOTTEN:
                    raise
        if self._keeps_states:
            try:
                yield from self._ask({**whole, "return_state": True})
                return
            except RequestFailed as error:
                if error.code != "states_off":
                    raise
                self._keeps_states = False
        yield from self._ask(whole)

    def _ask(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return self._api.stream(self._path, {**body, "stream": True})
