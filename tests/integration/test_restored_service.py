"""A running service is backed up, dies, and goes on elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack import Stack, wait_for

VERSES = "\n".join(f"The {who} walks before the {what}." for who in "abcdef" for what in "ghijkl")
STEPS = {"max_steps": 40, "batch_size": 8, "sequence_length": 32}
LONG = {"max_steps": 2000, "batch_size": 8, "sequence_length": 32}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_it_trains_and_writes_as_before(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environments: list[dict[str, str]] = [{}, {}]
    if kind == "postgresql":
        make: Callable[[], str] = request.getfixturevalue("new_postgresql")
        environments = [{"TEXTGEN_DATABASE_URL": make()} for _ in range(2)]
    old = Stack(tmp_path / "old", **environments[0])
    with old:
        client = old.client()
        file = client.files.create(file=("verses.txt", VERSES.encode()), purpose="fine-tune")

        def train(hyperparameters: dict[str, int]) -> str:
            return client.fine_tuning.jobs.create(
                model="lstm-tiny",
                training_file=file.id,
                seed=1,
                extra_body={"hyperparameters": hyperparameters},
            ).id

        model = str(wait_for(client, train(STEPS)).fine_tuned_model)
        text = client.completions.create(model=model, prompt="The ", seed=1, max_tokens=40)
        unfinished = train(LONG)
        wait_for(client, unfinished, "running")
        made = old.cli("backup", str(tmp_path / "kept"), "--json")
        assert made.returncode == 0, made.stderr
        old.kill()
    new = Stack(tmp_path / "new", **environments[1])
    done = new.cli("restore", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stderr
    assert "1 jobs that were running are queued again" in done.stdout
    refused = new.cli("restore", str(tmp_path / "kept"))
    assert refused.returncode == 1
    assert "rows in" in refused.stderr
    (new.home / "credentials").write_text(old.key + "\n")  # keys of before are valid still

    with new:
        client = new.client()
        again = client.completions.create(model=model, prompt="The ", seed=1, max_tokens=40)
        assert again.choices[0].text == text.choices[0].text
        assert client.files.content(file.id).content == VERSES.encode()
        assert wait_for(client, unfinished, seconds=400).fine_tuned_model
        assert wait_for(client, train(STEPS)).fine_tuned_model
