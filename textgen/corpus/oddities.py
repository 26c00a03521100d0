"""Odd things in a text: what repeats, what is no text, what an earlier conversion damaged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from textgen.corpus.documents import document_hash
from textgen.corpus.encoding import BLOCK, Encoding
from textgen.corpus.personal_data import Kind, count_personal_data
from textgen.tokenizers.char import CharacterCounter

_HASHES_KEPT = 500_000  # of different lines, in about 40 MB
_SHORT_LINE = 20  # characters; shorter ones repeat in any text
_LONG_LINE = 10_000
_RARE = 5
_LITTLE = 100_000
_LIST, _LIST_LINE = 200, 500  # so many lines of at most so many characters may be a list
_HTML = re.compile(r"</?(?:a|body|br|div|html|img|li|p|script|span|table|td|tr)\b[^<>\n]{0,200}>")
# What UTF-8 read as Latin-1 or as GBK, and Visual C++'s uninitialised memory, look like.
_MOJIBAKE = re.compile("Ã[\x80-\xbf]|â€[\x80-\xbf™œ\x9d]|锟斤拷|烫烫烫")
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202a\u202b\u202c\u202d\u202e"
_ALLOWED_CONTROLS = "\t\n\r\f"
_MESSAGES = {
    "duplicate_lines": "lines of 20 characters and more are repeats; they weigh as often as they "
    "stand there, and can make the validation loss look better than it is.",
    "long_lines": "lines are longer than 10,000 characters: often data rather than text.",
    "junk_lines": "lines are mostly no letters: numbers, rules, tables or data.",
    "personal_data": "places look like personal data; the option 'mask_personal_data' hides them.",
    "crlf": "lines end in carriage return and newline; the model will learn to write both.",
    "control_characters": "control characters, which few texts mean to hold.",
    "replacement_characters": "characters are U+FFFD: an earlier conversion damaged the text.",
    "mojibake": "places look like text that was read in a wrong encoding and saved so.",
    "html": "HTML tags, which the model will learn too.",
    "invisible_characters": "invisible characters, such as zero-width spaces.",
    "rare_symbols": "different characters occur less than 5 times; 'vocab_size' leaves the rarest "
    "out.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One odd thing: how often, and what to do about it."""

    code: str
    count: int
    message: str


class Tally:
    """Counts over lines, in memory that does not grow with them."""

    def __init__(self) -> None:
        self.characters = CharacterCounter()
        self.lines = self.empty = self.duplicates = self.long_duplicates = 0
        self.longest = self.long_lines = self.crlf = self.html = self.mojibake = 0
        self.junk = 0
        self.lengths = Counter[int]()  # how many lines of each length, long ones by their bound
        self.personal = Counter[Kind]()
        self._seen = set[int]()
        self._waiting = list[str]()
        self._length = 0

    def line(self, text: str) -> None:
        """Count one line or document."""
        content = text.rstrip("\r\n")
        self.lines += 1
        self.lengths[_length_bin(len(content))] += 1
        self.junk += _is_junk(content)
        self.longest = max(self.longest, len(content))
        self.long_lines += len(content) > _LONG_LINE
        if content.strip():
            self._repeated(content)
        else:
            self.empty += 1
        self._waiting.append(text)
        self._length += len(text)
        if self._length > BLOCK:
            self.flush()

    def _repeated(self, content: str) -> None:
        value = document_hash(content)
        if value in self._seen:
            self.duplicates += 1
            self.long_duplicates += len(content) >= _SHORT_LINE
        elif len(self._seen) < _HASHES_KEPT:
            self._seen.add(value)

    def flush(self) -> None:
        """Count what is counted by blocks."""
        self.characters.add("".join(self._waiting))
        # Nothing that is looked for may begin in one document and end in the next.
        text = "".join(each if each.endswith("\n") else f"{each}\n" for each in self._waiting)
        self._waiting, self._length = [], 0
        self.personal += count_personal_data(text)
        self.crlf += text.count("\r\n")
        self.html += sum(1 for _ in _HTML.finditer(text))
        self.mojibake += sum(1 for _ in _MOJIBAKE.finditer(text))


def _length_bin(length: int) -> int:
    """The length itself, or of a long line the next power of two: so there are few."""
    return length if length <= _LONG_LINE else 1 << (length - 1).bit_length()


def _is_junk(content: str) -> bool:
    """Whether a line of some length has letters for less than a third of what is not space."""
    shown = len(content) - content.count(" ")
    return shown >= _SHORT_LINE and sum(map(str.isalpha, content)) * 3 < shown


def find_oddities(
    tally: Tally, counts: Counter[str], encoding: Encoding, *, one_text: bool
) -> Iterator[Finding]:
    """What is worth telling the owner of the text; ``one_text`` where its lines are no texts."""
    total = counts.total()
    if encoding.converted:
        yield Finding("encoding", 1, f"It is read as {encoding.name}: {encoding.reason}.")
    controls = sum(
        count
        for character, count in counts.items()
        if (character < " " or "\x7f" <= character < "\xa0") and character not in _ALLOWED_CONTROLS
    )
    rare = sum(1 for count in counts.values() if count < _RARE)
    if total < _LITTLE:
        text = f"{total:,} characters are little: the model will know much of it by heart."
        yield Finding("little_text", total, text)
    if one_text and not tally.empty and tally.lines >= _LIST and tally.longest <= _LIST_LINE:
        text = (
            f"{tally.lines:,} lines, none of them empty, none longer than {tally.longest:,} "
            "characters: where each is a text of its own, the option 'format' with the value "
            "'lines' learns where they end."
        )
        yield Finding("separate_lines", tally.lines, text)
    seen = {
        "duplicate_lines": tally.long_duplicates,
        "long_lines": tally.long_lines,
        "junk_lines": tally.junk,
        "personal_data": tally.personal.total(),
        "crlf": tally.crlf,
        "control_characters": controls,
        "replacement_characters": counts["\ufffd"],
        "mojibake": tally.mojibake,
        "html": tally.html,
        "invisible_characters": sum(counts[character] for character in _INVISIBLE),
        "rare_symbols": rare,
    }
    usual = {
        "duplicate_lines": max(1, tally.lines // 20),
        "junk_lines": max(1, tally.lines // 100),
        "mojibake": 1,
        "html": max(4, total // 2000),
        "rare_symbols": max(20, len(counts) // 10),
    }
    for code, count in seen.items():
        if count > usual.get(code, 0):
            yield Finding(code, count, f"{count:,} {_MESSAGES[code]}")
