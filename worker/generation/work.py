"""A checked request on its way to the engine, whichever endpoint it came in by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from textgen.errors import InvalidOption
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.answer import Answer
from worker.generation.serving import ModelNames

A = TypeVar("A", bound=Answer)


class States(Protocol):
    """Keeps the states of texts; `worker.storage.text_states` says more."""

    @property
    def allowed(self) -> bool:
        """Whether any are kept."""

    def check_allowed(self) -> None:
        """InvalidOption where none are kept."""

    def add(self, tenant: str, model: str, bundle: BundleReference, packed: str) -> str:
        """Keep a packed state; its id."""

    def use(self, tenant: str, state_id: str, model: str, bundle: BundleReference) -> str:
        """A packed state; NotFound, InvalidOption where the model is another."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, the models there are, and the bounds of one request; a batch has no states."""

    models: ModelNames
    tenant: str
    max_characters: int
    max_prompts: int
    states: States | None = None

    def state(self, state_id: str | None, model: str, bundle: BundleReference) -> str | None:
        """The packed state to go on from, None for None.

        Raises NotFound, InvalidOption ``state_of_another_model``; also in a batch.
        """
        if state_id is None:
            return None
        return self._states("state_id").use(self.tenant, state_id, model, bundle)

    def keeper(self, model: str, bundle: BundleReference) -> Callable[[str], str]:
        """What keeps packed states of texts of this model and gives their ids."""
        states = self._states("return_state")
        states.check_allowed()
        return partial(states.add, self.tenant, model, bundle)

    @property
    def keeps_states(self) -> bool:
        """Whether texts get states here."""
        return self.states is not None and self.states.allowed

    def _states(self, param: str) -> States:
        if self.states is None:
            raise InvalidOption(
                f"{param!r} is for requests that are answered at once; the lines of a batch may "
                "run when a state has long expired. Give the whole text.",
                code="state_in_batch",
                param=param,
            )
        return self.states


@dataclass(slots=True)
class Work(Generic[A]):
    """What goes to the engine, and what gathers its answer; ``model`` is the model's real id."""

    model: str
    request: GenerateRequest
    answer: A


def leave_out(
    values: Mapping[str, Any], harmless: Mapping[str, Sequence[object]]
) -> dict[str, Any]:
    """``values`` without the parts of OpenAI's call that there are not here.

    A value that changes nothing is accepted; InvalidOption ``unsupported_option`` for others.
    """
    kept = dict(values)
    for name, accepted in harmless.items():
        if name in kept and kept.pop(name) not in accepted:
            raise InvalidOption(
                f"{name!r} is not supported by this service; leave it out.",
                code="unsupported_option",
                param=name,
            )
    return kept
