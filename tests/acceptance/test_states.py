"""Texts that go on from a state, through the official client and in the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.stack import ROOT, Stack


def write(client: openai.OpenAI, model: str, prompt: Any, **extra: Any) -> Any:
    options = {name: extra.pop(name) for name in ("max_tokens", "stop", "n") if name in extra}
    answer = client.completions.create(
        model=model, prompt=prompt, seed=3, extra_body=extra, **{"max_tokens": 20, **options}
    )
    return answer.choices[0]


def test_a_text_goes_on_branches_and_is_undone(client: openai.OpenAI, model: str) -> None:
    first = write(client, model, "The king ", return_state=True)
    more = write(client, model, "and the queen ", state_id=first.state_id, return_state=True)
    whole = "The king " + first.text + "and the queen "
    assert more.text == write(client, model, whole).text
    # A branch is the same id again, an undo an earlier one.
    branch = write(client, model, "or a fool ", state_id=first.state_id)
    assert branch.text == write(client, model, "The king " + first.text + "or a fool ").text
    again = write(client, model, "and the queen ", state_id=first.state_id)
    assert again.text == more.text
    # Without a word between, and after a text that is only read.
    further = write(client, model, "", state_id=more.state_id)
    assert further.text == write(client, model, whole + more.text).text
    read = write(client, model, whole, max_tokens=0, return_state=True)
    assert write(client, model, "", state_id=read.state_id).text == more.text


def test_a_stop_string_is_not_in_the_state(client: openai.OpenAI, model: str) -> None:
    text = write(client, model, "The king ", max_tokens=40).text
    stop = text[20:23]
    stopped = write(client, model, "The king ", max_tokens=40, stop=[stop], return_state=True)
    assert stopped.finish_reason == "stop"
    going_on = write(client, model, " My lord ", state_id=stopped.state_id)
    assert going_on.text == write(client, model, "The king " + stopped.text + " My lord ").text


def test_the_next_token_is_chosen(stack: Stack, client: openai.OpenAI, model: str) -> None:
    with stack.http() as http:

        def choose(**body: Any) -> Any:
            answer = http.post("/v1/next_tokens", json={"model": model, "top": 5, **body})
            assert answer.status_code == 200, answer.text
            return answer.json()

        found = choose(prompt="The king ")
        chances = [each["probability"] for each in found["data"]]
        assert chances == sorted(chances, reverse=True)
        assert 0 < sum(chances) <= 1
        text = ""
        for _ in range(8):  # always the likeliest
            text += found["data"][0]["text"]
            found = choose(state_id=found["state_id"], prompt=[found["data"][0]["token"]])
        greedy = client.completions.create(
            model=model, prompt="The king ", max_tokens=8, temperature=0
        )
        assert text == greedy.choices[0].text
        second = found["data"][1]
        picked = write(client, model, [second["token"]], state_id=found["state_id"])
        assert picked.text == write(client, model, "The king " + text + second["text"]).text


def test_what_is_gone_says_what_to_do(stack: Stack, client: openai.OpenAI, model: str) -> None:
    state = write(client, model, "The king ", return_state=True).state_id
    with stack.http() as http:
        shown = http.get(f"/v1/states/{state}").json()
        assert (shown["model"], shown["object"]) == (model, "state")
        assert state in [each["id"] for each in http.get("/v1/states?limit=100").json()["data"]]
        assert http.delete(f"/v1/states/{state}").json()["deleted"]
    with pytest.raises(openai.NotFoundError, match="Send the whole text instead") as caught:
        write(client, model, "", state_id=state)
    assert (caught.value.code, caught.value.param) == ("state_not_found", "state_id")


def test_a_worker_that_died_leaves_the_states(
    stack: Stack, client: openai.OpenAI, model: str
) -> None:
    first = write(client, model, "The king ", return_state=True)
    expected = write(client, model, "speaks ", state_id=first.state_id).text
    for engine in stack.processes("worker.generation.engine_process"):
        engine.kill()
        engine.wait(10)
    assert write(client, model, "speaks ", state_id=first.state_id).text == expected


def interact(stack: Stack, *words: str, lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "web.cli", "generate", *words, "--interactive"],
        cwd=ROOT, env=stack.environment, input=lines, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip


def test_the_command_line_writes_chooses_undoes_and_branches(
    stack: Stack, client: openai.OpenAI, model: str
) -> None:
    options = ["--temperature", "0", "--max-tokens", "12"]
    lines = [
        "", "/keep here", " A fool ", "/undo", "/go here", "/next 3", "/2", "/text", "/nonsense",
        "/9", "/again", "/quit", "never read",
    ]  # fmt: skip
    run = interact(stack, model, "The king ", *options, lines="\n".join(lines))
    assert "Kept as 'here'" in run.stderr
    assert "There is no /nonsense" in run.stderr
    assert "There is no choice /9: give /1 to /3." in run.stderr
    assert "never read" not in run.stdout

    def greedy(text: str) -> str:
        return client.completions.create(
            model=model, prompt=text, max_tokens=12, temperature=0
        ).choices[0].text  # fmt: skip

    one = "The king " + greedy("The king ")
    assert greedy("The king ") in run.stdout
    assert greedy(one + " A fool ") in run.stdout
    rows = re.findall(r"^/(\d) +([\d.]+) % +(.+?)\s*$", run.stdout, re.M)
    assert [place for place, _, _ in rows] == ["1", "2", "3", "1", "2", "3"]
    assert f"{one}{rows[1][2][1:-1]}\n" in run.stdout  # the second of them, and the whole text


def test_the_command_line_refuses_what_does_not_go_together(stack: Stack, model: str) -> None:
    run = stack.cli("generate", model, "The king", "--interactive", "--json")
    assert run.returncode == 2
    assert "--interactive reads its lines" in run.stderr


PAGE = (ROOT / "docs" / "sessions.md").read_text()
BLOCKS = re.findall(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", PAGE, re.S)


def test_the_page_has_all_its_examples() -> None:
    assert [kind for kind, _ in BLOCKS] == ["setup", "python", "python", "shell"]


@pytest.mark.parametrize(("number", "said"), [(1, "The king "), (2, "0."), (3, "/5")])
def test_an_example_of_the_page_runs(
    stack: Stack, model: str, tmp_path: Path, number: int, said: str
) -> None:
    (tmp_path / ".textgen").symlink_to(stack.home)
    with stack.http() as http:
        assert http.put("/v1/aliases/verses", json={"model": model}).status_code == 200
    kind, code = BLOCKS[number]
    setup = BLOCKS[0][1].replace("127.0.0.1:8000", f"127.0.0.1:{stack.port}")
    path = tmp_path / "example.py"
    path.write_text(code)
    run = f"{sys.executable} {path}" if kind == "python" else code
    bin_folder = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **stack.environment, "PATH": bin_folder, "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        ["bash", "-euc", setup + run], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
