"""A text that grows over a server that keeps states, forgets them, or keeps none."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.cli.api import Api, Server
from web.cli.growing_text import GrowingText, shown, token_bytes, whole_characters


class Writer:
    """A server that writes the number of characters it knows of, and a dot."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.prompts: list[str] = []
        self.off = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if self.off and body.get("return_state"):
            return refused(400, "states_off")
        if body.get("state_id") is not None and body["state_id"] not in self.states:
            return refused(404, "state_not_found")
        prompt = body["prompt"]
        text = prompt if isinstance(prompt, str) else "".join(map(chr, prompt))
        self.prompts.append(text)
        known = self.states.get(body.get("state_id"), "") + text
        if request.url.path == "/v1/next_tokens":
            data = [{"token": 97 + place, "text": "abc"[place], "probability": 0.3}
                    for place in range(3)]  # fmt: skip
            state = None if self.off else self.keep(known)
            return httpx.Response(200, json={"data": data, "state_id": state})
        written = f"{len(known)}."
        choice: dict[str, Any] = {"text": written}
        if body.get("return_state"):
            choice["state_id"] = self.keep(known + written)
        lines = [f"data: {json.dumps({'choices': [choice]})}", "data: [DONE]", ""]
        return httpx.Response(200, text="\n\n".join(lines))

    def keep(self, text: str) -> str:
        name = f"state_{len(self.states)}"
        self.states[name] = text
        return name


def refused(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": code, "code": code}})


@pytest.fixture
def writer() -> Writer:
    return Writer()


def growing(writer: Writer, text: str = "") -> GrowingText:
    api = Api(Server("http://server", "tg_1"), httpx.MockTransport(writer))
    return GrowingText(api, {"model": "m"}, text)


def test_only_what_is_new_is_sent(writer: Writer) -> None:
    text = growing(writer, "once ")
    assert "".join(text.write("upon ")) == "10."
    assert "".join(text.write("a time ")) == "20."
    list(text.write(""))
    assert text.text == "once upon 10.a time 20.23."
    assert writer.prompts == ["once upon ", "a time ", ""]


def test_undo_and_branches_go_back_to_their_places(writer: Writer) -> None:
    text = growing(writer, "x")
    list(text.write("a"))
    text.keep("here")
    list(text.write("b"))
    assert text.undo()
    list(text.write("c"))
    assert text.text == "xa2.c5."
    assert text.go("here")
    list(text.write("dd"))
    assert (text.text, text.last) == ("xa2.dd6.", "dd")
    assert not text.go("nowhere")
    assert text.undo() and text.undo() and not text.undo()
    assert text.text == "x"


def test_a_server_that_has_forgotten_is_sent_the_whole_text(writer: Writer) -> None:
    text = growing(writer, "once ")
    list(text.write("upon "))
    writer.states.clear()
    list(text.write("a time "))
    assert writer.prompts[-1] == "once upon 10.a time "
    writer.states.clear()
    assert len(text.alternatives(3)) == 3
    assert writer.prompts[-1] == text.text
    writer.states.clear()
    text.pick(97, "a", 3)
    assert writer.prompts[-2:] == [text.text[:-1], "a"]


def test_a_server_that_keeps_no_states_is_sent_the_whole_text(writer: Writer) -> None:
    writer.off = True
    text = growing(writer)
    list(text.write("ab"))
    list(text.write("cd"))
    assert (text.text, writer.prompts) == ("ab2.cd6.", ["ab", "ab2.cd"])
    text.alternatives(3)
    text.pick(97, "a", 3)
    assert (text.text, writer.prompts[-1]) == ("ab2.cd6.a", "ab2.cd6.a")


def test_a_character_can_be_picked_byte_by_byte(writer: Writer) -> None:
    text = growing(writer, "x")
    text.alternatives(3)
    for byte in "我".encode():
        text.pick(byte, f"bytes:\\x{byte:02x}", 3)
    assert text.text == "x我"
    assert text.undo() and text.text == "x"


@given(st.text(max_size=3))
def test_bytes_become_characters_as_soon_as_they_are_whole(text: str) -> None:
    found, part = "", b""
    for byte in text.encode():
        assert token_bytes(f"bytes:\\x{byte:02x}") == bytes([byte])
        added, part = whole_characters(part + bytes([byte]))
        found += added
    assert (found, part) == (text, b"")


def test_tokens_are_shown_so_that_people_can_read_them() -> None:
    assert [shown(text) for text in ("the ", "\n", "我", "", "bytes:\\xe4")] == [
        "'the '", "'\\n'", "'我'", "(the end of the text)", "\\xe4 (a part of a character)",
    ]  # fmt: skip
