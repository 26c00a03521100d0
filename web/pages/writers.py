"""Models that pages offer to write with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textgen.errors import TextgenError
from textgen.sampling_options import SamplingOptions
from web.services import Services
from worker.storage.models import Model

NEWEST = 100  # models that are offered, and so many that have a name
LONGEST_TOKENS = 200  # what is proposed for a model that proposes nothing


@dataclass(frozen=True)
class Writer:
    """A model under a name that the API knows."""

    name: str
    fills_gaps: bool
    defaults: dict[str, str]  # what suits it, as fields of a form


def writers_of(
    services: Services, tenant: str, *wanted: str
) -> tuple[list[Writer], TextgenError | None]:
    """First those that have a name, then the newest, then those ``wanted`` that are not among them.

    Of names the one that was given last comes first. Checkpoints and what tells classes alone are
    left out. The error says why one that is wanted is not offered.
    """
    newest = services.models.search(tenant, origin="finished", limit=NEWEST).items
    known = {model.id: model for model in newest}
    named = [
        (alias.name, known.get(alias.model) or services.models.get(tenant, alias.model))
        for alias in sorted(
            services.models.aliases(tenant), key=lambda each: each.updated_at, reverse=True
        )[:NEWEST]
    ]
    found = [_writer(name, model) for name, model in named if _writes(model)]
    unnamed = known.keys() - {model.id for _, model in named}
    found += [
        _writer(model.id, model) for model in newest if model.id in unnamed and _writes(model)
    ]
    problem = None
    for name in dict.fromkeys(filter(None, wanted)):
        if name not in {each.name for each in found}:
            try:
                found.append(_writer(name, services.models.resolve(tenant, name)))
            except TextgenError as error:
                problem = error
    return found, problem


def _writes(model: Model) -> bool:
    return list(model.header.get("objectives", ())) != ["classify"]


def _writer(name: str, model: Model) -> Writer:
    defaults = model.header.get("generation_defaults") or {}
    fields = {"max_tokens": str(LONGEST_TOKENS)}
    for option, value in defaults.items():
        if option in SamplingOptions.model_fields and value not in (None, [], ""):
            fields[option] = _as_field(value)
    return Writer(name, "infill" in model.header.get("objectives", ()), fields)


def _as_field(value: Any) -> str:
    """A value as a form's field has it: of texts one a line, with its line breaks written."""
    if isinstance(value, list):
        texts = (str(each).replace("\\", "\\\\").replace("\n", "\\n") for each in value)
        return "\n".join(texts)
    return str(value)
