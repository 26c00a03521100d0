"""Whether those who watch may still do so: a stream lasts longer than one look at its key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textgen.errors import TextgenError
from web.key_rules import check_project, check_scopes
from worker.errors import Forbidden, Unauthenticated
from worker.storage.keys import Key, Keys
from worker.tenants.tenants import Tenants

SCOPES = ("read",)  # what every stream asks for


class Rights:
    """What requests are checked by, looked at again. Safe to share between threads."""

    def __init__(self, keys: Keys, tenants: Tenants) -> None:
        self._keys = keys
        self._tenants = tenants

    def lost(self, keys: Iterable[Key]) -> Mapping[str, TextgenError]:
        """Which of these keys may watch no longer, by their ids, and why.

        What this process changes counts at once, what others do within 5 s.
        """
        ids = {key.id for key in keys}
        known = self._keys.known(ids)
        lost: dict[str, TextgenError] = {}
        for key_id in ids:
            try:
                key = self._keys.usable(known.get(key_id))
                check_scopes(key, SCOPES)
                check_project(self._tenants, key)
            except (Unauthenticated, Forbidden) as error:
                lost[key_id] = error
        return lost
