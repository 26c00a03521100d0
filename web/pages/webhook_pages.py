"""/webhooks: who hears of what, a sample to try it with, and what was delivered."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, url_for

from textgen.errors import TextgenError
from web.auth import tenant
from web.pages.forms import body_of_form
from web.pages.lists import ROWS, ListQuery, Pager
from web.pages.page import Pages, go, render, render_error
from web.schemas.webhooks import EndpointBody, EndpointChange, RotateSecretBody, TestBody
from web.services import current
from web.views import webhooks as api
from worker.webhooks.endpoints import MOST_ENDPOINTS
from worker.webhooks.events import EVENT_TYPES

webhook_pages = Pages("webhook_pages", __name__)

FIELDS = ("name", "url", "event_types")
NO_TYPES: dict[str, Any] = {"event_types": []}
ONE = "/webhooks/<webhook_endpoint_id>"


@webhook_pages.page("GET /webhooks", "Webhooks, for people", "admin")
def index() -> Response:
    """All endpoints: there are at most twenty."""
    page = current().endpoints.list(tenant(), limit=MOST_ENDPOINTS)
    return render("webhooks.html", rows=page.items)


@webhook_pages.page("GET /webhooks/new", "The form of a new webhook", "admin")
def new() -> Response:
    """With all events chosen."""
    return render("new_webhook.html", given={"event_types": EVENT_TYPES}, **_choices())


@webhook_pages.page("POST /webhooks", "Make a webhook, by a form", "admin")
def create() -> Response:
    """As POST /v1/webhook_endpoints: its secret is on the page that answers."""
    given = body_of_form()
    try:
        made = api.create(EndpointBody.parse({**NO_TYPES, **given}))
    except TextgenError as error:
        return render_error("new_webhook.html", error, given=given, **_choices())
    return render("webhook_made.html", made=made)


@webhook_pages.page(f"GET {ONE}", "A webhook, for people", "admin", query=ListQuery)
def show(webhook_endpoint_id: str, query: ListQuery) -> Response:
    """With its deliveries, the newest first."""
    return render("webhook.html", **_one(webhook_endpoint_id, query))


@webhook_pages.page(f"POST {ONE}", "Change a webhook, by a form", "admin")
def change(webhook_endpoint_id: str) -> Response:
    """As POST /v1/webhook_endpoints/{id}."""
    page = _one(webhook_endpoint_id)
    given = body_of_form()
    try:
        api.change(webhook_endpoint_id, EndpointChange.parse({**NO_TYPES, **given}))
    except TextgenError as error:
        return render_error("webhook.html", error, **{**page, "given": given})
    return go("webhook_pages.show", webhook_endpoint_id=webhook_endpoint_id)


@webhook_pages.page(f"POST {ONE}/test", "Send a sample event, by a form", "admin")
def test(webhook_endpoint_id: str) -> Response:
    """As POST /v1/webhook_endpoints/{id}/test: what the endpoint answered."""
    page = _one(webhook_endpoint_id)
    try:
        result = api.test(webhook_endpoint_id, TestBody.parse(body_of_form()))
    except TextgenError as error:
        return render_error("webhook.html", error, **page)
    return render("webhook.html", **page, result=result)


@webhook_pages.page(f"POST {ONE}/secret", "Replace a webhook's secret, by a form", "admin")
def rotate_secret(webhook_endpoint_id: str) -> Response:
    """As POST /v1/webhook_endpoints/{id}/rotate_secret; both are valid for a day."""
    keep = RotateSecretBody(keep_old_secret_active_for_24_hours=True)
    return render("webhook_made.html", made=api.rotate_secret(webhook_endpoint_id, keep))


@webhook_pages.page(f"POST {ONE}/delete", "Delete a webhook, by a form", "admin")
def delete(webhook_endpoint_id: str) -> Response:
    """As DELETE /v1/webhook_endpoints/{id}."""
    api.delete(webhook_endpoint_id)
    return go("webhook_pages.index")


@webhook_pages.page(
    f"POST {ONE}/deliveries/<delivery_id>/retry", "Send once more, by a form", "admin"
)
def retry(webhook_endpoint_id: str, delivery_id: str) -> Response:
    """As POST /v1/webhook_endpoints/{id}/deliveries/{id}/retry."""
    api.retry(webhook_endpoint_id, delivery_id)
    return go("webhook_pages.show", webhook_endpoint_id=webhook_endpoint_id)


def _one(endpoint_id: str, query: ListQuery | None = None) -> dict[str, Any]:
    """A page about one endpoint; raises NotFound."""
    query = ListQuery() if query is None else query
    endpoints = current().endpoints
    endpoint = endpoints.get(tenant(), endpoint_id)
    page = endpoints.deliveries(tenant(), endpoint_id, after=query.after, limit=ROWS)
    last = page.items[-1].id if page.items else None
    return {
        "endpoint": endpoint,
        "shown": api.show(endpoint_id),
        "given": {
            "name": endpoint.name,
            "url": endpoint.url,
            "event_types": list(endpoint.event_types),
        },
        "deliveries": page.items,
        "pager": _pager(endpoint_id, query, last if page.has_more else None),
        **_choices(),
    }


def _pager(endpoint_id: str, query: ListQuery, last: str | None) -> Pager:
    """Also on pages that answer a form, which have an address of their own."""
    here = url_for("webhook_pages.show", webhook_endpoint_id=endpoint_id)
    following = None if last is None else f"{here}?{urlencode({'after': last})}"
    return Pager(None if query.after is None else here, following)


def _choices() -> dict[str, Any]:
    return {"fields": FIELDS, "event_types": EVENT_TYPES}
