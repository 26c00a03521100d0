"""``textgen chat`` over a server that keeps states, forgets them, or keeps none."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from web.cli.api import Api, Server
from web.cli.chat import Talk


class Speaker:
    """A server that replies with the number of messages that it knows of."""

    def __init__(self) -> None:
        self.states: dict[str, int] = {}
        self.sent: list[list[str]] = []
        self.off = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if self.off and body.get("return_state"):
            return refused(400, "states_off")
        state = body.get("state_id")
        if state is not None and state not in self.states:
            return refused(404, "state_not_found")
        self.sent.append([each["content"] for each in body["messages"]])
        known = self.states.get(state, 0) + len(body["messages"])
        ended: dict[str, Any] = {"delta": {}}
        if body.get("return_state"):
            ended["state_id"] = f"state_{len(self.states)}"
            self.states[ended["state_id"]] = known + 1  # the reply is one more
        told = [{"delta": {"role": "assistant", "content": ""}}, {"delta": {"content": str(known)}}]
        lines = [f"data: {json.dumps({'choices': [choice]})}" for choice in (*told, ended)]
        return httpx.Response(200, text="\n\n".join([*lines, "data: [DONE]", ""]))


def refused(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": code, "code": code}})


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


def talk(speaker: Speaker, *opening: dict[str, str]) -> Talk:
    api = Api(Server("http://server", "tg_1"), httpx.MockTransport(speaker))
    return Talk(api, {"model": "m"}, opening)


def test_only_the_new_line_is_sent_and_undo_goes_back_to_its_state(
    speaker: Speaker, capsys: pytest.CaptureFixture[str]
) -> None:
    said = talk(speaker, {"role": "system", "content": "be kind"})
    for line in ("a", "b"):
        said.say(line)
    said.undo()
    said.say("c")
    assert speaker.sent == [["be kind", "a"], ["b"], ["c"]]
    assert capsys.readouterr().out.split() == ["2", "4", "4"]
    for _ in range(3):
        said.undo()
    assert "nothing to take back" in capsys.readouterr().err
    said.say("d")
    assert speaker.sent[-1] == ["be kind", "d"]


def test_a_server_that_has_forgotten_is_sent_the_whole_conversation(speaker: Speaker) -> None:
    said = talk(speaker)
    said.say("a")
    speaker.states.clear()
    said.say("b")
    assert speaker.sent == [["a"], ["a", "1", "b"]]


def test_a_server_that_keeps_no_states_is_sent_the_whole_conversation(speaker: Speaker) -> None:
    speaker.off = True
    said = talk(speaker)
    for line in ("a", "b"):
        said.say(line)
    assert speaker.sent == [["a"], ["a", "1", "b"]]
