"""/v1/organization/admin_api_keys: who may run the service, the operator's admin keys."""

from __future__ import annotations

from typing import Any

from web.auth import actor
from web.key_pages import page_of, valid_keys
from web.resource import Resource
from web.schemas.organization import (
    AdminKey,
    AdminKeyDeleted,
    AdminKeyList,
    AdminKeyOwner,
    NamedKeyBody,
    NewAdminKey,
    OrderedPageQuery,
)
from web.services import current
from worker.storage.key_rows import missing_key
from worker.storage.keys import SCOPES, Key
from worker.tenants.tenants import DEFAULT_TENANT

admin_keys = Resource("admin_keys", __name__)
ROOT = "/v1/organization/admin_api_keys"


@admin_keys.on(
    f"POST {ROOT}", "Make an admin key", "admin", operator=True, body=NamedKeyBody,
    answer=NewAdminKey,
)  # fmt: skip
def create(body: NamedKeyBody) -> NewAdminKey:
    """It may do everything; its ``value`` is shown this once."""
    key, plaintext = current().keys.create(
        DEFAULT_TENANT, body.name, SCOPES, expires_in=body.expires_in_seconds, actor=actor()
    )
    return NewAdminKey.model_construct(**_fields(key), value=plaintext)


@admin_keys.on(
    f"GET {ROOT}", "List admin keys", "admin", operator=True, query=OrderedPageQuery,
    answer=AdminKeyList,
)  # fmt: skip
def index(query: OrderedPageQuery) -> AdminKeyList:
    """Those that are valid."""
    page = page_of(valid_keys(DEFAULT_TENANT, _is_admin), query.after, query.limit, query.order)
    data = [view(key) for key in page.items]
    return AdminKeyList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@admin_keys.on(f"GET {ROOT}/<key_id>", "Show an admin key", "admin", operator=True, answer=AdminKey)
def show(key_id: str) -> AdminKey:
    """Without its secret."""
    return view(_found(key_id))


@admin_keys.on(
    f"DELETE {ROOT}/<key_id>", "Revoke an admin key", "admin", operator=True,
    answer=AdminKeyDeleted,
)  # fmt: skip
def revoke(key_id: str) -> AdminKeyDeleted:
    """Of no use from now on; `textgen keys create` on the database makes one without a key."""
    current().keys.revoke(DEFAULT_TENANT, _found(key_id).id, actor())
    return AdminKeyDeleted(id=key_id)


def view(key: Key) -> AdminKey:
    """A key as clients see it."""
    return AdminKey.model_construct(**_fields(key))


def _found(key_id: str) -> Key:
    found = [key for key in valid_keys(DEFAULT_TENANT, _is_admin) if key.id == key_id]
    if not found:
        raise missing_key(key_id)
    return found[0]


def _is_admin(key: Key) -> bool:
    return "admin" in key.scopes


def _fields(key: Key) -> dict[str, Any]:
    created_at = int(key.created_at)
    return {
        "id": key.id,
        "name": key.name,
        "created_at": created_at,
        "expires_at": None if key.expires_at is None else int(key.expires_at),
        "redacted_value": f"tg_{key.id}_…",
        "owner": AdminKeyOwner(id=key.id, name=key.name, created_at=created_at),
    }
