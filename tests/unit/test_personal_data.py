"""Personal data: what is found, what is not, in a time that grows with the text alone."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus.cleaning import Cleaning
from textgen.corpus.documents import Dialogue, Turn
from textgen.corpus.personal_data import RECOGNISERS, Masker, count_personal_data

FOUND = [
    ("write to jo.bloggs+x@mail.example.co.uk.", "write to <EMAIL>."),
    ("联系我a_b@example.com。", "联系我<EMAIL>。"),
    ("电话13812345678，谢谢", "电话<PHONE>，谢谢"),
    ("138 1234 5678", "<PHONE>"),
    ("call +44 20 7946 0958 or +49-30-901820", "call <PHONE> or <PHONE>"),
    ("(415) 555-2671 and 415.555.2671", "<PHONE> and <PHONE>"),
    ("DE89 3704 0044 0532 0130 00 BANK", "<IBAN> BANK"),
    ("GB82WEST12345698765432", "<IBAN>"),
    ("card 4111 1111 1111 1111, 5500-0000-0000-0004", "card <CARD>, <CARD>"),
    ("身份证11010519491231002X。", "身份证<ID_NUMBER>。"),
    ("ssn 536-90-4399", "ssn <ID_NUMBER>"),
    ("from 192.168.17.4 to 2001:db8::ff00:42:8329", "from <IP> to <IP>"),
    ("https://user:pa55@host/x", "https://<CREDENTIALS>@host/x"),
    ("AKIAIOSFODNN7EXAMPLE", "<SECRET>"),
    ("token ghp_" + "a1B2" * 9, "token <SECRET>"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "<SECRET>"),
]
LEFT = [
    "1700000000 seconds, 2024-01-02, 12:30:45, v1.2.3, 3.14159265358979",
    "std::string a::b; x = a @ b; print('%s@' % x)",
    "4111 1111 1111 1112",  # no card: the check digit is wrong
    "DE88 3704 0044 0532 0130 00",  # no IBAN
    "110105194912310021",  # no Chinese number
    "666-12-3456 and 12345678901",
    "127.0.0.1 and 999.1.1.1 and 1.2.3.4.5",
    "Li Bai lived in Chang'an in 742.",  # names and places have no pattern
]


@pytest.mark.parametrize(("text", "masked"), FOUND)
def test_it_is_masked(text: str, masked: str) -> None:
    assert Masker().mask(text) == masked


@pytest.mark.parametrize("text", LEFT)
def test_it_is_left(text: str) -> None:
    assert Masker().mask(text) == text


def test_kinds_are_counted_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    text = "\n".join(text for text, _ in FOUND)
    with caplog.at_level(logging.DEBUG):
        counts = count_personal_data(text)
    assert counts == {
        "email": 2, "phone": 6, "iban": 2, "card": 2, "id_number": 2, "ip": 2, "credentials": 1,
        "secret": 3,
    }  # fmt: skip
    assert not caplog.records


parts = st.lists(
    st.sampled_from([text for text, _ in FOUND] + LEFT + ["\n", " ", "。", "x"])
    | st.text(max_size=9),
    max_size=12,
).map("".join)


def test_what_is_glued_to_something_masked_is_found_too() -> None:
    text = "+49-30-901820DE89 3704 0044 0532 0130 00"
    assert Masker().mask(text) == "<PHONE><IBAN>"


@given(parts)
def test_masking_twice_is_masking_once(text: str) -> None:
    masked = Masker().mask(text)
    assert Masker().mask(masked) == masked


@given(parts, st.data())
def test_pieces_are_masked_as_the_whole(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, cut = Masker(), Masker()
    assert "".join(cut.mask_pieces(pieces)) == "".join(
        whole.mask(line) for line in text.splitlines(keepends=True)
    ) or "".join(Masker().mask_pieces(pieces)) == Masker().mask(text)


def test_a_line_without_an_end_is_not_held_for_ever() -> None:
    masker = Masker()
    pieces = ["我写信给 a@example.org 请回复。" * 500 for _ in range(40)]
    given_out = list(masker.mask_pieces(pieces))
    assert max(map(len, given_out)) < 200_000
    assert masker.counts == {"email": 20_000}


def test_every_turn_is_masked() -> None:
    row = Dialogue((Turn("mail a@b.org", closed=False), Turn("13812345678", mark="answer")))
    masker = Masker()
    (masked,) = Cleaning("none", masker).documents([row])
    assert isinstance(masked, Dialogue)
    assert [turn.text for turn in masked.turns] == ["mail <EMAIL>", "<PHONE>"]
    assert masked.turns[1].mark == "answer"


HOSTILE = [
    "1", "1 ", "+1 ", "a@", "a.", "a@a.", "::", "://a:", "AA00", "1-", "eyJaaaaaaaa.", "1.1.",
    "sk-", "DE89 3704 ", "(", "4111 ", "138", "a-", "0:", "_", "415 555 ",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_does_not_hold_it_up(unit: str) -> None:
    """A pattern that took time by the square of the length would not end before the timeout."""
    masker = Masker()
    masker.mask(unit * (1_000_000 // len(unit)))
    assert masker.counts.total() <= 1_000_000


def test_every_kind_has_a_recogniser_that_finds_something() -> None:
    text = "\n".join(text for text, _ in FOUND)
    assert {recogniser.kind for recogniser in RECOGNISERS} == set(count_personal_data(text))
