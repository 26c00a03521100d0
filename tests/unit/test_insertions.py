"""Texts that grow by insertions: where, in what order, and what is kept."""

from __future__ import annotations

import pytest

from textgen.errors import InvalidOption
from worker.contracts import BundleReference, ChoiceDelta, Gap, GenerateRequest
from worker.generation.insertions import (
    Filling,
    GapsAnswer,
    GrowingText,
    InsertionBody,
    places_between_words,
)

BUNDLE = BundleReference(artifact="a", file="f")


def asked(**fields: object) -> InsertionBody:
    return InsertionBody.check({"model": "m", "input": "a big dog", **fields})


class TestPlaces:
    """Where something may stand between two words."""

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a big dog", "a |big |dog"),
            ("Hello, world!", "Hello|, |world|!"),
            ("don't  go", "don't  |go"),
            ("我是一名程序员", "我|是|一|名|程|序|员"),
            ("我用Python写。", "我|用|Python|写|。"),
            ("cafe\u0301 noir", "cafe\u0301 |noir"),
            ("word", "word"),
            ("x", "x"),
        ],
    )
    def test_between_words_and_where_there_are_no_spaces_anywhere(
        self, text: str, shown: str
    ) -> None:
        places = places_between_words(text)
        assert (
            "|".join(text[a:b] for a, b in zip([0, *places], [*places, None], strict=True)) == shown
        )


class TestGrowing:
    """A text, and what was inserted into it."""

    def test_insertions_are_where_they_are_said_to_be(self) -> None:
        growing = GrowingText("a big dog", None)
        growing.insert(6, Filling(1, "old ", -0.5))
        growing.insert(2, Filling(0, "very ", -1.0))
        assert growing.text == "a very big old dog"
        assert [growing.text[each.start : each.end] for each in growing.insertions] == [
            "very ",
            "old ",
        ]
        assert [each.mean_logprob for each in growing.insertions] == [-1.0, -0.5]

    def test_nothing_is_inserted_within_or_beside_an_insertion(self) -> None:
        growing = GrowingText("a big dog", None)
        growing.insert(2, Filling(0, "very very ", -1.0))
        assert growing.places() == (16,)

    def test_positions_move_with_the_text_and_serve_once(self) -> None:
        growing = GrowingText("我是一名程序员", (4, 0))
        assert growing.places() == (0, 4)
        growing.insert(0, Filling(0, "小王和", -1.0))
        assert growing.places() == (7,)
        growing.insert(7, Filling(0, "优秀的", -1.0))
        assert growing.text == "小王和我是一名优秀的程序员"
        assert growing.places() == ()

    def test_a_text_without_a_place(self) -> None:
        with pytest.raises(InvalidOption, match="'positions'") as caught:
            GrowingText("word", None).places(first=True)
        assert caught.value.code == "no_place"


class TestRequest:
    """What is asked, and what it asks of the engine."""

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"positions": [10]}, "positions"),
            ({"positions": [-1]}, "positions"),
            ({"positions": [1, 1]}, "positions"),
            ({"positions": []}, "positions"),
            ({"max_insertions": 17}, "max_insertions"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"input": ""}, "input"),
            ({"prompt": "x"}, "prompt"),
        ],
    )
    def test_a_bad_field_is_named(self, fields: dict[str, object], param: str) -> None:
        with pytest.raises(InvalidOption) as caught:
            asked(**fields)
        assert caught.value.param == param

    def test_every_place_is_a_gap(self) -> None:
        request = asked(temperature=0.5).round("a big dog", (2, 6), 7).to_request("ins-1", BUNDLE)
        assert request.prompts == (
            Gap(before="a ", after="big dog"),
            Gap(before="a big ", after="dog"),
        )
        assert (request.ranked, request.seed, request.options.temperature) == (True, 7, 0.5)
        travelled = GenerateRequest.model_validate_json(request.model_dump_json())
        assert travelled.prompts == request.prompts

    def test_too_much_for_one_request(self) -> None:
        some = asked().round("a big dog", (2, 6), 7)
        with pytest.raises(InvalidOption) as caught:
            some.check_limits(max_characters=5, max_places=9)
        assert caught.value.code == "prompt_too_long"
        with pytest.raises(InvalidOption) as caught:
            some.check_limits(max_characters=99, max_places=1)
        assert caught.value.code == "too_many_places"


class TestSurest:
    """Which filling stays."""

    def test_the_likeliest_a_token_that_came_to_an_end_and_says_something(self) -> None:
        answer = GapsAnswer(5)
        answer.add_deltas([
            ChoiceDelta(0, "cut off", 4, "length", mean_logprob=-0.1),
            ChoiceDelta(1, "", 1, "stop", mean_logprob=-0.2),
            ChoiceDelta(2, "un", 1),
            ChoiceDelta(3, "less", 4, "stop", mean_logprob=-0.9),
            ChoiceDelta(2, "likely", 3, "stop", mean_logprob=-0.5),
            ChoiceDelta(4, "as likely", 3, "stop", mean_logprob=-0.5),
        ])  # fmt: skip
        assert answer.surest() == Filling(2, "unlikely", -0.5)
        assert answer.fresh().surest() is None
