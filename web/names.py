"""What names of the API are called: measures, fields, states, phases, what a check finds.

Programs read ``valid_loss``; in another language than English people read words for it. A catalogue
has them, of whole names and of the parts that names are put together from.
"""

from __future__ import annotations

from collections.abc import Mapping

from web.catalogues import ENGLISH, entries
from web.translation import joined

DOMAIN = "names"
LONGEST = 100  # characters; what is longer is no name of ours


def called(name: str, language: str) -> str:
    """``name`` in words, those before a point too; itself in English and where it is unknown."""
    if language == ENGLISH or len(name) > LONGEST:
        return name
    known = entries(language, DOMAIN)
    words = [_words(part, known) for part in name.split(".")]
    return name if None in words else " · ".join(filter(None, words))


def _words(name: str, known: Mapping[str, str]) -> str | None:
    if name in known or name.isdecimal():
        return known.get(name, name)
    for place in (at for at in range(len(name) - 1, 0, -1) if name[at] == "_"):
        rest = _words(name[place + 1 :], known) if name[:place] in known else None
        if rest is not None:
            return joined(known[name[:place]], rest)
    return None
