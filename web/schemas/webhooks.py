"""Webhook endpoints and deliveries, as OpenAI's client knows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from web.schemas.base import Body, Shape

Name = Annotated[str, Field(min_length=1, max_length=200)]
Url = Annotated[str, Field(min_length=1, max_length=2000)]
Types = Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=50)]


class EndpointBody(Body):
    """An endpoint to be made."""

    name: Name
    url: Url
    event_types: Types


class EndpointChange(Body):
    """What is not given stays as it is."""

    name: Name | None = None
    url: Url | None = None
    event_types: Types | None = None


class RotateSecretBody(Body):
    """Whether deliveries carry both signatures for a day."""

    keep_old_secret_active_for_24_hours: bool = False


class TestBody(Body):
    """Which event to send as a sample."""

    event_type: Annotated[str, Field(max_length=100)]


class EndpointObject(Shape):
    """An endpoint without its secret."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    created_at: int
    updated_at: int


class EndpointWithSecret(EndpointObject):
    """An endpoint with its secret, when it is new."""

    signing_secret: str


class EndpointList(Shape):
    """A page of endpoints, the oldest first."""

    object: Literal["list"] = "list"
    data: list[EndpointObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class EndpointDeleted(Shape):
    """An endpoint that is gone."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class TestResult(Shape):
    """What the endpoint answered to a sample."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class EventTypeList(Shape):
    """The types of events that there are."""

    object: Literal["list"] = "list"
    data: list[str]


class DeliveryObject(Shape):
    """An event on its way, or there: what was sent, and what came back."""

    id: str
    object: Literal["webhook_endpoint.delivery"] = "webhook_endpoint.delivery"
    event_id: str
    event_type: str
    event: dict[str, Any]
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: int | None
    last_status: int | None
    last_error: str | None
    created_at: int
    ended_at: int | None


class DeliveryList(Shape):
    """A page of deliveries, the newest first."""

    object: Literal["list"] = "list"
    data: list[DeliveryObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
