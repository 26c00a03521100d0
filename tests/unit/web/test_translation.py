"""Finding the template that a message was made from, and saying it in Chinese."""

from __future__ import annotations

import itertools
import re

import pytest

from docs.generators.sentences import REASONS
from textgen.errors import InvalidOption
from web.catalogues import entries
from web.translation import Template, translated, translated_template
from worker.generation.completions import CompletionBody


@pytest.mark.parametrize(
    ("parts", "message", "values"),
    [
        (("There is no alias ", "."), "There is no alias 'a.b'.", ["'a.b'"]),
        (("", " is ", ": ", "."), "'layers' is 0: too few.", ["'layers'", "0", "too few"]),
        (("", " has ", " already."), "ftjob-1 has ended already.", ["ftjob-1", "ended"]),
        (("All of it.",), "All of it.", []),
        (("", "", "!"), "ab!", ["", "ab"]),
        (("The ", " ends."), "The ends.", None),
        (("ab", "bc"), "abc", None),
        (("All of it.",), "All of it", None),
    ],
)
def test_what_stands_in_the_gaps(
    parts: tuple[str, ...], message: str, values: list[str] | None
) -> None:
    assert Template(parts, "").values(message) == values


def test_the_template_that_says_most_is_taken() -> None:
    message = "'n' is 0; it must be 1 or more."

    assert translated(message, "zh") == "'n' 是 0；必须不小于 1。"


def test_lists_among_what_a_value_may_be_are_told_apart() -> None:
    with pytest.raises(InvalidOption) as caught:
        CompletionBody.parse({"model": "m", "prompt": 5})

    assert caught.value.message == (
        "'prompt' is 5: it must be a string, or a list of at least 1 entry, each a string or a "
        "list of whole numbers of at least 0, or a list of at least 1 entry, each a whole number "
        "of at least 0."
    )
    assert translated(caught.value.message, "zh") == (
        "'prompt' 是 5：应为文字，或至少 1 项的列表，每项为文字或不小于 0 的整数的列表，"
        "或至少 1 项的列表，每项为不小于 0 的整数。"
    )


@pytest.mark.parametrize(
    ("reason", "chinese"),
    [
        ("true or false", "true 或 false"),
        ("'auto' or a whole number from 1 to 256", "'auto' 或 1 到 256 的整数"),
        ("'causal', 'infill' or 'mask'", "'causal'、'infill' 或 'mask'"),
        (
            "a number from 0 to 2 or a list of 1 to 64 entries, each a number from 0 to 2",
            "0 到 2 的数或 1 到 64 项的列表，每项为 0 到 2 的数",
        ),
    ],
)
def test_what_a_value_may_be_is_put_together_from_words(reason: str, chinese: str) -> None:
    message = f"'x' is 'one, two or so': it must be {reason}."

    assert translated(message, "zh") == f"'x' 是 'one, two or so'：应为 {chinese}。"


def test_values_may_have_templates_of_their_own() -> None:
    message = "'stop' is 3: Input should be a valid string, or Input should be a valid list."

    assert translated(message, "zh") == "'stop' 是 3：应为文字，或应为列表。"


@pytest.mark.parametrize("domain", ["errors", "reports", "evaluations"])
def test_every_template_is_found_again(domain: str) -> None:
    """And no other, which might say more of its own and fit by chance."""
    for english, chinese in entries("zh", domain).items():
        numbers = itertools.count(1)
        message = re.sub("…", lambda _: f"'v{next(numbers)}'", english)  # noqa: B023

        told = translated(message, "zh", domain).replace(" ", "")
        assert told == re.sub(r"\{(\d)\}", r"'v\1'", chinese).replace(" ", "")


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_found_in_the_message_of_a_bad_value(reason: str) -> None:
    reason = reason.replace("…", "'v'")
    alone = translated(reason, "zh")

    assert alone != reason
    assert translated(f"'f' is 'x y': {reason}.", "zh") == f"'f' 是 'x y'：{alone}。"


def test_values_stay_as_they_are() -> None:
    message = "There is no file 'Missing command.'."

    assert translated(message, "zh") == "没有文件 'Missing command.'。"


def test_white_space_within_a_message_does_not_hide_it() -> None:
    message = "The line is not valid JSON:\n  Expecting value"

    assert translated(message, "zh") == "这一行不是有效的 JSON：Expecting value"


def test_what_is_unknown_stays_and_english_is_untouched() -> None:
    assert translated("Brand new words", "zh") == "Brand new words"
    assert translated("There is no job 'x'.", "en") == "There is no job 'x'."
    assert translated("There is no job 'x'.", "xx") == "There is no job 'x'."


def test_a_template_is_shown_with_its_gaps() -> None:
    assert translated_template("There is no job ….", "zh") == "没有任务 …。"
    assert translated_template("There is no job ….", "en") == "There is no job …."
