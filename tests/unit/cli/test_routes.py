"""Errors of the API at the command line: what they advise is a command."""

from __future__ import annotations

import re

import click
import pytest

from web.catalogues import entries
from web.cli.app import textgen
from web.cli.routes import as_commands

ROUTE = re.compile(r"(GET|POST) /v1/\S+")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`GET /v1/models` lists those there are.", "`textgen models` lists those there are."),
        ("`GET /v1/jobs/ftjob-1_a` has its end.", "`textgen jobs show ftjob-1_a` has its end."),
        ("POST /v1/jobs/batch_1/retry runs all.", "`textgen jobs retry batch_1` runs all."),
        ("Ask it by POST /v1/completions. Then", "Ask it by `textgen generate`. Then"),
        ("请用POST /v1/files 上传。", "请用`textgen files upload` 上传。"),
        ("Send it to /v1/uploads or POST /v1/none.", "Send it to /v1/uploads or POST /v1/none."),
        ("`GET /v1/models/x/content` is the model.", "`GET /v1/models/x/content` is the model."),
    ],
)
def test_a_route_becomes_the_command_that_does_it(message: str, shown: str) -> None:
    assert as_commands(message) == shown


def test_every_error_that_names_a_route_names_a_command_here() -> None:
    naming = [each for each in entries("zh", "errors") if ROUTE.search(each)]
    assert len(naming) > 5
    for message in naming:
        told = as_commands(message.replace("…", "1"))
        assert not ROUTE.search(told), told
        for words in re.findall(r"`textgen ([a-z ]+)", told):
            command: click.Command = textgen
            for word in words.split():
                assert isinstance(command, click.Group)
                found = command.get_command(click.Context(command), word)
                assert found is not None, words
                command = found
