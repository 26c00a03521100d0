"""/playground: texts as they are written, token by token, with what might have come instead."""

from __future__ import annotations

from typing import Any

from flask import Response
from pydantic import Field, create_model

from textgen.sampling_options import SamplingOptions
from web.auth import tenant
from web.pages.overview import base_url
from web.pages.page import Pages, render, render_error
from web.pages.sampling_fields import field_groups
from web.pages.words import playground_words
from web.pages.writers import writers_of
from web.schemas.base import Query
from web.services import current

playground = Pages("playground", __name__)


def _text(longest: int) -> Any:
    return (str, Field("", max_length=longest))


# A link has the settings as they stand in the form: what is wrong with them the API says when
# the text is asked for, beside the field.
PlaygroundQuery: type[Query] = create_model(
    "PlaygroundQuery",
    __base__=Query,
    __doc__="The settings that the form begins with.",
    model=_text(300),
    other_model=_text(300),
    other_temperature=_text(1000),
    **{name: _text(10_000) for name in SamplingOptions.model_fields},
)


@playground.page("GET /playground", "The playground", "generate", query=PlaygroundQuery)
def index(query: Query) -> Response:
    """The form and an empty page; a script asks the API and shows what it writes."""
    given: dict[str, str] = query.model_dump()
    services = current()
    writers, problem = writers_of(services, tenant(), given["model"], given["other_model"])
    chosen = next((each for each in writers if each.name == given["model"]), None)
    if chosen is None and writers:
        chosen = writers[0]
    if chosen is not None and not any(given[name] for name in SamplingOptions.model_fields):
        given |= chosen.defaults
    values: dict[str, Any] = {
        "writers": writers,
        "chosen": chosen,
        "given": given,
        "groups": field_groups(),
        "base_url": base_url(services),
        "words": playground_words(),
    }
    if problem is not None:
        return render_error("playground.html", problem, **values)
    return render("playground.html", **values)
