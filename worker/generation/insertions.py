"""Texts that grow by insertions: the request, checked in one place, and how one grows.

Each round every place that may be is filled as a gap, and the filling that the model is surest of
stays; the next round begins with the longer text. So content and place are chosen together, as in
the Insertion Transformer (Stern et al. 2019, §3), by a model that has learnt the objective infill.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from pydantic import Field, field_validator

from textgen.errors import InvalidOption
from textgen.options import Options, SamplingOptions
from textgen.scripts import is_unspaced
from worker.contracts import BundleReference, ChoiceDelta, Gap, GenerateRequest, Usage
from worker.generation.answer import Answer, usage_dict

MOST_INSERTIONS = 16
MOST_POSITIONS = 256


class InsertionBody(SamplingOptions):
    """Body of ``POST /v1/insertions``: the sampling options and the text that is to grow."""

    model: str = Field(min_length=1, max_length=300)
    input: str = Field(min_length=1, description="the text")
    positions: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        max_length=MOST_POSITIONS,
        description="offsets in characters where something may be inserted, each once; left out: "
        "between any two words",
    )
    max_insertions: int = Field(
        1, ge=1, le=MOST_INSERTIONS, description="so many, the one the model is surest of first"
    )
    user: str | None = Field(None, max_length=1000)

    @field_validator("positions")
    @classmethod
    def _each_once(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("a position is there twice")
        return value

    @classmethod
    def check(cls, body: Mapping[str, Any]) -> Self:
        """Check a request body; raise InvalidOption naming the field, the value, the way out.

        Null means that a field is left out.
        """
        checked = cls.parse({name: value for name, value in body.items() if value is not None})
        for place in checked.positions or ():
            if not 0 <= place <= len(checked.input):
                raise InvalidOption(
                    f"'positions' has {place}; 'input' has {len(checked.input)} characters, so a "
                    f"position is 0 to {len(checked.input)}.",
                    param="positions",
                )
        if checked.max_tokens == 0:
            raise InvalidOption(
                "'max_tokens' is 0, which leaves nothing to insert. Give 1 or more.",
                param="max_tokens",
            )
        return checked

    def round(self, text: str, places: tuple[int, ...], seed: int) -> GapsToFill:
        """What is to be filled next."""
        sampling = {name: getattr(self, name) for name in SamplingOptions.model_fields}
        return GapsToFill(
            model=self.model,
            text=text,
            places=places,
            sampling=SamplingOptions.model_construct(**sampling),
            seed=seed,
        )


class GapsToFill(Options):
    """One round: a text, and the places that are to be filled each for itself."""

    model: str
    text: str
    places: tuple[int, ...]
    sampling: SamplingOptions
    seed: int

    def check_limits(self, *, max_characters: int, max_places: int) -> None:
        """Refuse what is too large for one request; raise InvalidOption."""
        if len(self.text) > max_characters:
            raise InvalidOption(
                f"'input' has {len(self.text):,} characters; the limit is {max_characters:,}. Send "
                "the part that is to grow.",
                code="prompt_too_long",
                param="input",
            )
        if len(self.places) > max_places:
            raise InvalidOption(
                f"The text has {len(self.places):,} places between two words; one request fills "
                f"at most {max_places}. Send the part that is to grow, or name 'positions'.",
                code="too_many_places",
                param="positions",
            )

    def to_request(self, request_id: str, bundle: BundleReference) -> GenerateRequest:
        """The message for the worker."""
        gaps = tuple(
            Gap(before=self.text[:place], after=self.text[place:]) for place in self.places
        )
        return GenerateRequest(
            id=request_id,
            bundle=bundle,
            prompts=gaps,
            ranked=True,
            options=self.sampling,
            seed=self.seed,
        )


class Filling(NamedTuple):
    """What a model has written into one of some gaps."""

    gap: int
    text: str
    mean_logprob: float  # of a token, the end among them


class GapsAnswer(Answer):
    """Gathers what was written into each gap."""

    def __init__(self, gaps: int) -> None:
        super().__init__(gaps)
        self._texts: dict[int, list[str]] = {}
        self._whole: dict[int, float] = {}  # that came to an end, by index

    def fresh(self) -> GapsAnswer:
        """The same answer with nothing in it yet."""
        return GapsAnswer(self.choices)

    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in new text."""
        for delta in deltas:
            self._texts.setdefault(delta.index, []).append(delta.text)
            if delta.finish_reason == "stop" and delta.mean_logprob is not None:
                self._whole[delta.index] = delta.mean_logprob

    def surest(self) -> Filling | None:
        """The likeliest a token, of equals the first; None where none was brought to an end.

        What has the most tokens that are allowed does not lead over to what follows it.
        """
        found = [Filling(i, "".join(self._texts[i]), mean) for i, mean in self._whole.items()]
        whole = [each for each in found if each.text]
        return min(whole, key=lambda each: (-each.mean_logprob, each.gap), default=None)

    def body(self, request_id: str, model: str) -> dict[str, Any]:  # noqa: ARG002 - one of many
        """What is surest; the rounds together make the answer."""
        found = self.surest()
        return {} if found is None else found._asdict()


@dataclass(frozen=True, slots=True)
class Insertion:
    """A stretch of the longer text that was not there before."""

    start: int
    end: int
    mean_logprob: float


class GrowingText:
    """A text with what was inserted into it."""

    def __init__(self, text: str, positions: Sequence[int] | None) -> None:
        self.text = text
        self.insertions: list[Insertion] = []  # in the order of the text
        self._positions = None if positions is None else sorted(positions)

    def places(self, *, first: bool = False) -> tuple[int, ...]:
        """Where something may be inserted; not within or beside what was inserted before.

        InvalidOption ``no_place`` where there is nothing to begin with.
        """
        found = places_between_words(self.text) if self._positions is None else self._positions
        if first and not found:
            raise InvalidOption(
                "'input' is one word, and something can be inserted between two. Name 'positions', "
                f"0 to {len(self.text)}, or send a longer text.",
                code="no_place",
                param="input",
            )
        return tuple(
            place
            for place in found
            if not any(each.start <= place <= each.end for each in self.insertions)
        )

    def insert(self, place: int, filling: Filling) -> None:
        """Make the text longer."""
        length = len(filling.text)
        self.text = self.text[:place] + filling.text + self.text[place:]

        def moved(offset: int) -> int:
            return offset + length if offset >= place else offset

        new = Insertion(place, place + length, filling.mean_logprob)
        old = [
            Insertion(moved(each.start), moved(each.end), each.mean_logprob)
            for each in self.insertions
        ]
        self.insertions = sorted([*old, new], key=lambda each: each.start)
        if self._positions is not None:
            self._positions = [moved(each) for each in self._positions if each != place]

    def body(self, request_id: str, model: str, created: int, usage: Usage) -> dict[str, Any]:
        """The ``insertion`` object."""
        return {
            "id": request_id,
            "object": "insertion",
            "created": created,
            "model": model,
            "text": self.text,
            "insertions": [
                {
                    "start": each.start,
                    "end": each.end,
                    "text": self.text[each.start : each.end],
                    "mean_logprob": each.mean_logprob,
                }
                for each in self.insertions
            ],
            "usage": usage_dict(usage),
        }


def places_between_words(text: str) -> list[int]:
    """The offsets between two words; in scripts without spaces between any two characters.

    Not before a space, since the place behind it is the same, and not before a combining mark.
    """
    return [
        place for place in range(1, len(text)) if _begins_something(text[place - 1], text[place])
    ]


def _begins_something(before: str, here: str) -> bool:
    if here.isspace() or unicodedata.category(here).startswith("M"):
        return False
    within_word = _of_word(before) and _of_word(here)
    return not within_word or is_unspaced(before) or is_unspaced(here)


def _of_word(character: str) -> bool:
    return character.isalnum() or character in "_'’" or unicodedata.category(character)[0] == "M"
