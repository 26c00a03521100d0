"""What a sample of bytes speaks for: binary data, UTF-8 with faults, Chinese in GB18030."""

from __future__ import annotations

_HIGH = bytes(range(128, 256))


def high_bytes(sample: bytes) -> int:
    """How many bytes are above 127, which in most encodings are no ASCII."""
    return len(sample) - len(sample.translate(None, _HIGH))


def looks_binary(sample: bytes) -> bool:
    """Whether more than one byte in fifty is a control character that texts do not have."""
    usual = b"\t\n\v\f\r\x1b\b"
    odd = sum(sample.count(code) for code in range(32) if code not in usual)
    return odd * 50 > len(sample)


def mostly_utf8(sample: bytes) -> bool:
    """Whether more than half of the bytes above 127 make UTF-8 characters."""
    good = high_bytes(sample.decode("utf-8", "ignore").encode())
    return good * 2 > high_bytes(sample)


def mostly_chinese(sample: bytes) -> bool:
    """Whether the sample read as GB18030 is made of Chinese and ASCII characters.

    Western text in an 8-bit encoding that happens to be valid GB18030 has few characters above
    127, and those pair up with letters to rare ones outside GB 2312.
    """
    text = sample.decode("gb18030", "ignore")
    beyond = [character for character in text if character > "\x7f"]
    common = 0
    for character in beyond:
        code = character.encode("gb18030")
        common += len(code) == 2 and code[0] <= 0xF7 and code[1] >= 0xA1
    return common * 4 >= len(beyond) * 3 and len(beyond) * 10 >= len(text)
