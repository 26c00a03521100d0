"""Keys that are valid, page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from web.services import current
from worker.storage.keys import Key
from worker.storage.pages import Page, cut


def page_of(
    keys: Sequence[Key], after: str | None, limit: int, order: Literal["asc", "desc"] = "asc"
) -> Page[Key]:
    """The keys behind the one of the id ``after``; none where that is not among them."""
    ordered = list(keys) if order == "asc" else list(reversed(keys))
    if after is not None:
        places = [place for place, key in enumerate(ordered, 1) if key.id == after]
        ordered = ordered[places[0] :] if places else []
    return cut(ordered[: limit + 1], limit)


def valid_keys(tenant: str, wanted: Callable[[Key], bool] = lambda _: True) -> list[Key]:
    """Those that are of use, the oldest first."""
    now = time.time()
    return [
        key
        for key in current().keys.list(tenant)
        if key.revoked_at is None and not (key.expires_at and key.expires_at <= now) and wanted(key)
    ]
