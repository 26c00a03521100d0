"""/v1/webhook_endpoints: where to hear of what, as OpenAI's client calls it."""

from __future__ import annotations

import json
import time
from typing import Any, cast

from textgen.errors import InvalidOption
from web.auth import actor, tenant
from web.resource import Resource
from web.schemas.base import PageQuery
from web.schemas.webhooks import (
    DeliveryList,
    DeliveryObject,
    EndpointBody,
    EndpointChange,
    EndpointDeleted,
    EndpointList,
    EndpointObject,
    EndpointWithSecret,
    EventTypeList,
    RotateSecretBody,
    TestBody,
    TestResult,
)
from web.services import current
from worker.storage.ids import new_id
from worker.webhooks.endpoints import Delivery, Endpoint
from worker.webhooks.events import EVENT_TYPES, event_body
from worker.webhooks.signing import hint, signed_headers

webhooks = Resource("webhooks", __name__)
ROOT = "/v1/webhook_endpoints"
ONE = f"{ROOT}/<webhook_endpoint_id>"
# What an event of a sample is about: no job that ever was.
SAMPLE_SUBJECT = {"batch": "batch_sample", "fine_tuning": "ftjob-sample", "eval": "eval-sample"}


@webhooks.on(
    f"POST {ROOT}", "Make a webhook endpoint", "admin", body=EndpointBody, answer=EndpointWithSecret
)
def create(body: EndpointBody) -> EndpointWithSecret:
    """Its secret is shown this once."""
    made = current().endpoints.create(tenant(), body.name, body.url, body.event_types, actor())
    return EndpointWithSecret(**_fields(made), signing_secret=made.secret)


@webhooks.on(f"GET {ROOT}", "List webhook endpoints", "admin", query=PageQuery, answer=EndpointList)
def index(query: PageQuery) -> EndpointList:
    """Without their secrets."""
    page = current().endpoints.list(tenant(), after=query.after, limit=query.limit)
    data = [EndpointObject(**_fields(found)) for found in page.items]
    return EndpointList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@webhooks.on(f"GET {ONE}", "Show a webhook endpoint", "admin", answer=EndpointObject)
def show(webhook_endpoint_id: str) -> EndpointObject:
    """Without its secret."""
    return EndpointObject(**_fields(current().endpoints.get(tenant(), webhook_endpoint_id)))


@webhooks.on(
    f"POST {ONE}", "Change a webhook endpoint", "admin", body=EndpointChange, answer=EndpointObject
)
def change(webhook_endpoint_id: str, body: EndpointChange) -> EndpointObject:
    """What is not given stays as it is."""
    changed = current().endpoints.change(
        tenant(),
        webhook_endpoint_id,
        name=body.name,
        url=body.url,
        event_types=body.event_types,
        actor=actor(),
    )
    return EndpointObject(**_fields(changed))


@webhooks.on(f"DELETE {ONE}", "Delete a webhook endpoint", "admin", answer=EndpointDeleted)
def delete(webhook_endpoint_id: str) -> EndpointDeleted:
    """What was to be sent there is not sent any more."""
    current().endpoints.delete(tenant(), webhook_endpoint_id, actor())
    return EndpointDeleted(id=webhook_endpoint_id)


@webhooks.on(
    f"POST {ONE}/rotate_secret",
    "Replace a webhook's secret",
    "admin",
    body=RotateSecretBody,
    answer=EndpointWithSecret,
)
def rotate_secret(webhook_endpoint_id: str, body: RotateSecretBody) -> EndpointWithSecret:
    """The new one is shown this once."""
    made = current().endpoints.rotate_secret(
        tenant(),
        webhook_endpoint_id,
        keep_old=body.keep_old_secret_active_for_24_hours,
        actor=actor(),
    )
    return EndpointWithSecret(**_fields(made), signing_secret=made.secret)


@webhooks.on(f"POST {ONE}/test", "Send a sample event", "admin", body=TestBody, answer=TestResult)
def test(webhook_endpoint_id: str, body: TestBody) -> TestResult:
    """At once, once, without a row in the log; says what the endpoint answered."""
    services = current()
    endpoint = services.endpoints.get(tenant(), webhook_endpoint_id)
    if body.event_type not in EVENT_TYPES:
        raise InvalidOption(
            f"'event_type' is {body.event_type!r}: give one of {', '.join(EVENT_TYPES)}.",
            param="event_type",
        )
    now, event_id = time.time(), new_id("evt_")
    subject = SAMPLE_SUBJECT[body.event_type.split(".")[0]]
    content = event_body(event_id, body.event_type, subject, now).encode()
    headers = signed_headers(event_id, int(now), content, endpoint.secrets(now))
    status = services.sender.post(endpoint.url, headers, content)
    return TestResult(
        webhook_endpoint_id=endpoint.id, event_type=body.event_type, status_code=status
    )


@webhooks.on(
    f"GET {ONE}/deliveries",
    "List a webhook's deliveries",
    "admin",
    query=PageQuery,
    answer=DeliveryList,
)
def deliveries(webhook_endpoint_id: str, query: PageQuery) -> DeliveryList:
    """The newest first; those that ended are kept for 30 days."""
    page = current().endpoints.deliveries(
        tenant(), webhook_endpoint_id, after=query.after, limit=query.limit
    )
    data = [_delivery(found) for found in page.items]
    return DeliveryList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@webhooks.on(
    f"POST {ONE}/deliveries/<delivery_id>/retry", "Send once more", "admin", answer=DeliveryObject
)
def retry(webhook_endpoint_id: str, delivery_id: str) -> DeliveryObject:
    """At once, and if that fails again over three days."""
    services = current()
    services.endpoints.get(tenant(), webhook_endpoint_id)
    return _delivery(services.endpoints.send_again(tenant(), webhook_endpoint_id, delivery_id))


@webhooks.on("GET /v1/webhook_event_types", "List types of events", "admin", answer=EventTypeList)
def event_types() -> EventTypeList:
    """Those that endpoints can ask for."""
    return EventTypeList(data=list(EVENT_TYPES))


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "signing_secret_hint": hint(endpoint.secret),
        "created_at": int(endpoint.created_at),
        "updated_at": int(endpoint.updated_at),
    }


def _delivery(found: Delivery) -> DeliveryObject:
    return DeliveryObject(
        id=found.id,
        event_id=found.event_id,
        event_type=found.event_type,
        event=json.loads(found.body),
        state=cast(Any, found.state),
        attempts=found.attempts,
        next_attempt_at=int(found.due_at) if found.state == "pending" else None,
        last_status=found.last_status,
        last_error=found.last_error,
        created_at=int(found.created_at),
        ended_at=None if found.ended_at is None else int(found.ended_at),
    )
