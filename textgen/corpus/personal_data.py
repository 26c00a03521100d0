"""Personal data in a text: found by its pattern and its checksum, counted, and masked.

A candidate is found by a pattern whose repetitions are bounded, so the time grows with the length
of the text alone, and is then judged by python-stdnum (checksums) or phonenumbers (numbering
plans). What has no pattern is not found: names, addresses, dates of birth. docs/privacy.md says
more. Nothing here logs or keeps a value that it finds.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

Kind = Literal["secret", "credentials", "email", "iban", "id_number", "card", "ip", "phone"]
_HELD = 1 << 16  # characters of a line that are held back at most
_AROUND = 256  # characters: longer than any candidate
_PASSES = 8  # over a text at most, so that the time stays within a multiple of its length


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A kind of data: candidates by ``pattern``, and how much of one is real.

    ``hint``, where given, is in every candidate: a text without it need not be searched.
    """

    kind: Kind
    pattern: re.Pattern[str]
    real: Callable[[str], int] = len  # how many of the candidate's characters; 0 for none
    hint: str = ""


class Masker:
    """Masks texts and counts what it masked."""

    def __init__(self) -> None:
        self.counts = Counter[Kind]()

    def mask(self, text: str) -> str:
        """``text`` with ``<EMAIL>`` for an e-mail address, and so on.

        What was masked may have hidden where something glued to it begins, so it is looked at
        again as long as more is found.
        """
        for _ in range(_PASSES):
            before = self.counts.total()
            for recogniser in RECOGNISERS:
                if recogniser.hint in text:
                    text = recogniser.pattern.sub(self._replacing(recogniser), text)
            if self.counts.total() == before:
                break
        return text

    def mask_pieces(self, pieces: Iterable[str]) -> Iterator[str]:
        """The same for a text that comes in pieces: no candidate goes over the end of a line."""
        rest = ""
        for piece in pieces:
            text = rest + piece
            at = text.rfind("\n") + 1
            if len(text) - at > _HELD:
                at = _apart(text)
            rest = text[at:]
            if at:
                yield self.mask(text[:at])
        if rest:
            yield self.mask(rest)

    def _replacing(self, recogniser: Recogniser) -> Callable[[re.Match[str]], str]:
        def replace(found: re.Match[str]) -> str:
            candidate = found[0]
            length = recogniser.real(candidate)
            if not length:
                return candidate
            self.counts[recogniser.kind] += 1
            return f"<{recogniser.kind.upper()}>{candidate[length:]}"

        return replace


def count_personal_data(text: str) -> Counter[Kind]:
    """How often each kind is in ``text``."""
    masker = Masker()
    masker.mask(text)
    return masker.counts


def recogniser_versions() -> list[str]:
    """What the masking of a text depends on beside this module."""
    return [f"{name} {version(name)}" for name in ("python-stdnum", "phonenumberslite")]


def _apart(text: str) -> int:
    """A place near the end of a very long line that is hardly within a candidate."""
    for at in range(len(text) - _AROUND, len(text) - 5 * _AROUND, -1):
        before, after = text[at - 1], text[at]
        if not after.isascii() or (after.isspace() and before.islower()):
            return at
    return len(text) - _AROUND


def _iban(candidate: str) -> int:
    """The longest beginning, up to a group's end, whose check digits are right."""
    from stdnum import iban

    for end in range(len(candidate), 14, -1):
        whole = end == len(candidate) or not candidate[end].isalnum()
        if whole and iban.is_valid(candidate[:end], check_country=False):
            return end
    return 0


def _card(candidate: str) -> int:
    """Luhn's check digit, and an issuer's first digits with the length that goes with them."""
    from stdnum import luhn

    digits = _digits(candidate)
    known = _ISSUERS.fullmatch(digits) is not None and len(set(digits)) > 1
    return len(candidate) if known and luhn.is_valid(digits) else 0


def _id_number(candidate: str) -> int:
    """A Chinese resident's number with its place, date and check digit, or an American SSN."""
    from stdnum.cn import ric
    from stdnum.us import ssn

    judge = ssn if "-" in candidate else ric
    return len(candidate) if judge.is_valid(candidate) else 0


def _ip(candidate: str) -> int:
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        return 0
    groups = sum(1 for group in candidate.split(":") if group)
    if address.version == 6 and groups < 3:
        return 0  # "::" and the like stand in programs
    return 0 if address.is_unspecified or address.is_loopback else len(candidate)


def _phone(candidate: str) -> int:
    """A number that its country's plan knows: after a ``+``, Chinese mobile, or American."""
    import phonenumbers

    region = None if candidate[0] == "+" else "CN" if candidate[0] == "1" else "US"
    try:
        number = phonenumbers.parse(candidate, region)
    except phonenumbers.NumberParseException:
        return 0
    return len(candidate) if phonenumbers.is_valid_number(number) else 0


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[068]\d{12}|35\d{14}"
    r"|6(?:011|5\d\d)\d{12}|62\d{14,17}",
    re.ASCII,
)
# The first characters by which services mark what they give out as secret
_SECRETS = (
    r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    r"gh[pousr]_[A-Za-z0-9]{36,255}",
    r"github_pat_[A-Za-z0-9_]{22,255}",
    r"glpat-[A-Za-z0-9_-]{20,100}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,250}",
    r"sk-[A-Za-z0-9_-]{20,250}",
    r"[rs]k_live_[A-Za-z0-9]{16,250}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"hf_[A-Za-z0-9]{30,100}",
    r"npm_[A-Za-z0-9]{36}",
    r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,1000}",
)
# In this order: what is found first is masked before another kind looks at it. A letter before
# or after a number means ASCII's: in Chinese nothing stands between words.
RECOGNISERS: tuple[Recogniser, ...] = (
    Recogniser("secret", re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_SECRETS)})")),
    Recogniser(
        "credentials", re.compile(r"(?<=://)[^\s/@:]{1,100}:[^\s/@]{1,100}(?=@)"), hint="://"
    ),
    Recogniser(
        "email",
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}"
            r"[A-Za-z]{2,24}(?![A-Za-z0-9-])"
        ),
        hint="@",
    ),
    Recogniser(
        "iban",
        re.compile(
            r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?"
            r"(?![A-Za-z0-9])"
        ),
        _iban,
    ),
    Recogniser(
        "id_number",
        re.compile(
            r"(?<![A-Za-z0-9-])(?:[1-9][0-9]{16}[0-9Xx]|[0-9]{3}-[0-9]{2}-[0-9]{4})(?![A-Za-z0-9-])"
        ),
        _id_number,
    ),
    Recogniser(
        "card",
        re.compile(r"(?<![A-Za-z0-9])[2-6][0-9](?:[ -]?[0-9]){11,17}(?![A-Za-z0-9])"),
        _card,
    ),
    Recogniser(
        "ip",
        re.compile(
            r"(?<![A-Za-z0-9.:])(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
            r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![A-Za-z0-9:]|\.[0-9])"
        ),
        _ip,
    ),
    Recogniser(
        "phone",
        re.compile(
            r"(?<![A-Za-z0-9+])\+[1-9](?:[ .()/-]{0,2}[0-9]){6,14}(?![0-9])"
            r"|(?<![A-Za-z0-9.-])1[3-9][0-9](?:[ -]?[0-9]{4}){2}(?![A-Za-z0-9.-])"
            r"|(?<![A-Za-z0-9.-])\(?[2-9][0-9]{2}\)?[ .-]{1,2}[2-9][0-9]{2}[ .-][0-9]{4}"
            r"(?![A-Za-z0-9-])"
        ),
        _phone,
    ),
)
