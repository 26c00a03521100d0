"""/live: the jobs of a list as they change, for pages that show them."""

from __future__ import annotations

from typing import Annotated

from flask import Response
from pydantic import BeforeValidator, Field

from web.auth import key, tenant
from web.live.watches import ListWatch
from web.pages.language import language
from web.resource import Resource
from web.schemas.base import Query
from web.services import current

live = Resource("live", __name__)


def _split(value: object) -> object:
    return [each for each in value.split(",") if each] if isinstance(value, str) else value


class LiveQuery(Query):
    """Which jobs a page shows, and the newest that it knows of."""

    ids: Annotated[tuple[str, ...], BeforeValidator(_split), Field(max_length=100)] = ()
    newest: str = Field("", max_length=40)


@live.on(
    "GET /live",
    "Follow jobs of a list",
    "read",
    query=LiveQuery,
    media=("text/event-stream",),
)
def follow(query: LiveQuery) -> Response:
    """``progress`` for each that changes, ``new`` when another job is there."""
    services = current()
    watch = ListWatch(key(), query.ids, query.newest, language=language())
    return services.hub.respond(watch, services.streams.take_for(tenant()).free)
