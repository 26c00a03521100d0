"""/v1/organization/projects/{id}/service_accounts: the programs that call, each by its one key."""

from __future__ import annotations

from typing import Any

from web.auth import actor
from web.key_pages import page_of, valid_keys
from web.project_access import visible
from web.resource import Resource
from web.schemas.base import PageQuery
from web.schemas.organization import (
    NamedKeyBody,
    NewServiceAccount,
    ServiceAccount,
    ServiceAccountChange,
    ServiceAccountDeleted,
    ServiceAccountKey,
    ServiceAccountList,
)
from web.services import current
from worker.storage.key_rows import missing_key
from worker.storage.keys import SCOPES, Key

service_accounts = Resource("service_accounts", __name__)
ROOT = "/v1/organization/projects/<project_id>/service_accounts"
MEMBER = ("read", "generate", "train")


@service_accounts.on(
    f"POST {ROOT}", "Make a service account", "admin", body=NamedKeyBody, answer=NewServiceAccount
)
def create(project_id: str, body: NamedKeyBody) -> NewServiceAccount:
    """A member, with a key that reads, generates and trains; it is shown this once."""
    services = current()
    services.tenants.get(visible(project_id))
    key, plaintext = services.keys.create(
        project_id, body.name, MEMBER, expires_in=body.expires_in_seconds, actor=actor()
    )
    shown = ServiceAccountKey(
        id=key.id,
        name=key.name,
        value=plaintext,
        created_at=int(key.created_at),
        expires_at=None if key.expires_at is None else int(key.expires_at),
    )
    return NewServiceAccount.model_construct(**_fields(key), api_key=shown)


@service_accounts.on(
    f"GET {ROOT}", "List service accounts", "admin", query=PageQuery, answer=ServiceAccountList
)
def index(project_id: str, query: PageQuery) -> ServiceAccountList:
    """Those whose key is valid, the oldest first."""
    current().tenants.get(visible(project_id))
    page = page_of(valid_keys(project_id), query.after, query.limit)
    data = [view(key) for key in page.items]
    return ServiceAccountList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@service_accounts.on(
    f"GET {ROOT}/<key_id>", "Show a service account", "admin", answer=ServiceAccount
)
def show(project_id: str, key_id: str) -> ServiceAccount:
    """Its id is that of its key."""
    return view(_found(visible(project_id), key_id))


@service_accounts.on(
    f"POST {ROOT}/<key_id>",
    "Change a service account",
    "admin",
    body=ServiceAccountChange,
    answer=ServiceAccount,
)
def change(project_id: str, key_id: str, body: ServiceAccountChange) -> ServiceAccount:
    """Its name, or whether it is an admin of its project."""
    key = _found(visible(project_id), key_id)
    scopes = {None: None, "owner": SCOPES, "member": MEMBER}[body.role]
    return view(
        current().keys.change(project_id, key.id, name=body.name, scopes=scopes, actor=actor())
    )


@service_accounts.on(
    f"DELETE {ROOT}/<key_id>", "Delete a service account", "admin", answer=ServiceAccountDeleted
)
def delete(project_id: str, key_id: str) -> ServiceAccountDeleted:
    """Its key is of no use from now on, in other processes within five seconds."""
    current().keys.revoke(project_id, _found(visible(project_id), key_id).id, actor())
    return ServiceAccountDeleted(id=key_id)


def view(key: Key) -> ServiceAccount:
    """A service account as clients see it."""
    return ServiceAccount.model_construct(**_fields(key))


def _found(project_id: str, key_id: str) -> Key:
    found = [key for key in valid_keys(project_id) if key.id == key_id]
    if not found:
        raise missing_key(key_id)
    return found[0]


def _fields(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": "owner" if "admin" in key.scopes else "member",
        "created_at": int(key.created_at),
    }
