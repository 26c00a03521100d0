"""What an alias may be called."""

from __future__ import annotations

import re

from textgen.errors import InvalidInput
from textgen.options import PRESET_NAMES

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_name(name: str, param: str) -> None:
    """Refuse what could be taken for a preset or a model's id; raises InvalidInput."""
    if not NAME.fullmatch(name) or name in PRESET_NAMES:
        raise InvalidInput(
            f"{param!r} is {name[:80]!r}: an alias has at most 64 letters, digits, '.', '-' and "
            "'_', and no preset's name.",
            code="invalid_alias",
            param=param,
        )
