"""Which scripts put no space between words."""

from __future__ import annotations

import re

# A class of regular expressions: Thai and Lao, Burmese, Khmer, kana, Han.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # noqa: E501
_UNSPACED = re.compile(f"[{UNSPACED}]")


def is_unspaced(character: str) -> bool:
    """Whether it is of such a script."""
    return _UNSPACED.match(character) is not None
