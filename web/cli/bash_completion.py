"""Completion in bash, where names have colons in them."""

from __future__ import annotations

import os
from typing import ClassVar

from click.shell_completion import BashComplete, CompletionItem, split_arg_string


class Bash(BashComplete):
    """Bash cuts words at colons too, which ids of models have; here they are cut as a shell does.

    What stands before the last colon is on the line already, and is taken off what is offered.
    """

    source_template: ClassVar[str] = BashComplete.source_template.replace(
        "$(env ", '$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" '
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words before the cursor, and the one that is begun."""
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)
        begun = words.pop() if words and not line[-1:].isspace() else ""
        value = begun.rpartition("=")[2] if begun.startswith("--") else begun
        self._there = "".join(value.rpartition(":")[:2])
        return words[1:], begun

    def format_completion(self, item: CompletionItem[str]) -> str:
        """The rest of what is offered, behind the last colon that was typed."""
        return f"{item.type},{item.value.removeprefix(self._there)}"
