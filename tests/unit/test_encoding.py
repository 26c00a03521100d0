import codecs
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.corpus import encoding
from textgen.corpus.encoding import decode_file, detect_encoding
from textgen.errors import InvalidCorpus

CHINESE = "我是一名程序员，白日依山尽，黄河入海流。"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "story.txt"


def read(path: Path, declared: str | None = None) -> tuple[str, str]:
    found = detect_encoding(path, declared)
    return found.name, "".join(decode_file(path, found))


def refusal(path: Path, declared: str | None = None) -> InvalidCorpus:
    with pytest.raises(InvalidCorpus) as caught:
        detect_encoding(path, declared, name="my story.txt")
    return caught.value


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (CHINESE.encode(), "utf-8"),
        (b"plain ASCII", "utf-8"),
        (codecs.BOM_UTF8 + CHINESE.encode(), "utf-8"),
        (CHINESE.encode("utf-16"), "utf-16-le"),
        (codecs.BOM_UTF16_BE + CHINESE.encode("utf-16-be"), "utf-16-be"),
        (CHINESE.encode("utf-32"), "utf-32-le"),
        (CHINESE.encode("gb18030"), "gb18030"),
        (b"A long English heading. " * 2 + CHINESE.encode("gb18030"), "gb18030"),
    ],
)
def test_it_is_detected_and_the_mark_is_no_text(file: Path, content: bytes, name: str) -> None:
    file.write_bytes(content)
    found, text = read(file)
    assert found == name
    assert text.endswith(CHINESE if name != "utf-8" or len(content) > 20 else "ASCII")
    assert "\ufeff" not in text


@pytest.mark.parametrize("name", ["big5", "shift_jis", "cp1252", "utf-16", "utf-8-sig", "GBK"])
def test_a_declared_encoding_is_used(file: Path, name: str) -> None:
    text = {"cp1252": "café à la crème", "shift_jis": "これは本です"}.get(name, "人生天地")
    file.write_bytes(text.encode(name))
    assert read(file, name)[1] == text


def test_utf16_without_a_mark_is_read_when_declared(file: Path) -> None:
    file.write_bytes("hello".encode("utf-16-le"))
    assert read(file, "utf-16") == ("utf-16-le", "hello")
    error = refusal(file)
    assert error.code == "binary_file"
    assert "UTF-16" in error.message


@pytest.mark.parametrize("content", [b"", codecs.BOM_UTF8])
def test_an_empty_file_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    error = refusal(file)
    assert error.code == "empty_file"
    assert "my story.txt" in error.message


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\x02\x01\x01\0\0\0", b"%PDF-1.7\n...", b"text\0text", bytes(range(256)) * 20],
)
def test_a_binary_file_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert refusal(file).code == "binary_file"


@pytest.mark.parametrize("text", ["中", CHINESE, "English and 中"])
def test_utf8_cut_off_at_the_end_is_not_taken_for_gb18030(file: Path, text: str) -> None:
    data = (text + "中").encode()
    for missing in (1, 2):
        file.write_bytes(data[:-missing])
        error = refusal(file)
        assert error.code == "invalid_encoding"
        assert f"at byte {len(data) - 3} " in error.message


@pytest.mark.parametrize("broken", [b"\xff", b"\x80", "中".encode()[:2], "中".encode()[1:]])
@pytest.mark.parametrize("around", [CHINESE, "Plain English text. ", "中"])
def test_utf8_broken_in_the_middle_is_refused_at_its_byte(
    file: Path, broken: bytes, around: str
) -> None:
    file.write_bytes(around.encode() + broken + around.encode())
    error = refusal(file)
    assert error.code == "invalid_encoding"
    assert f"at byte {len(around.encode())} " in error.message


def test_utf8_joined_to_gb18030_is_refused(file: Path) -> None:
    file.write_bytes(CHINESE.encode() * 2 + CHINESE.encode("gb18030") * 1000)
    assert refusal(file).code == "invalid_encoding"


def test_western_text_is_refused_with_the_way_out(file: Path) -> None:
    file.write_bytes("Le café où l'élève a été reçu près de là. ".encode("cp1252") * 10)
    error = refusal(file)
    assert error.code == "invalid_encoding"
    assert "cp1252" in error.message


def test_a_wrong_declaration_is_refused_at_its_byte(file: Path) -> None:
    file.write_bytes(b"ab" + CHINESE.encode("gb18030"))
    error = refusal(file, "utf-8")
    assert error.code == "invalid_encoding"
    assert "at byte 2 " in error.message


@pytest.mark.parametrize(
    "declared", ["klingon", "base64", "rot13", "idna", "unicode_escape", "a\0b", ""]
)
def test_unknown_encodings_are_refused(file: Path, declared: str) -> None:
    file.write_bytes(b"text")
    error = refusal(file, declared)
    assert (error.code, error.param) == ("unknown_encoding", "encoding")


@pytest.mark.parametrize("name", ["utf-8", "gb18030", "utf-16-le"])
@settings(max_examples=30)
@given(block=st.integers(1, 11), text=st.text("ab中🙂", min_size=1, max_size=30))
def test_blocks_split_no_character_and_offsets_stay_exact(name: str, block: int, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(encoding, "BLOCK", block)
        file = Path(folder) / "text"
        # Given a text read in blocks of any size
        file.write_bytes(text.encode(name))
        assert read(file, name) == (name, text)
        # And the same with a byte missing in its last character
        file.write_bytes(text.encode(name) + "🙂".encode(name)[:-1])
        assert f"at byte {len(text.encode(name))} " in refusal(file, name).message


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_the_declared_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "text"
        file.write_bytes(content)
        try:
            name, text = read(file)
        except InvalidCorpus as error:
            assert error.code in {"empty_file", "binary_file", "invalid_encoding"}
        else:
            assert text.encode(name) in content
