"""/v1/organization/projects/{id}/api_keys: who may call on behalf of a project."""

from __future__ import annotations

from typing import Any

from web.auth import actor
from web.key_pages import page_of
from web.project_access import visible
from web.resource import Resource
from web.schemas.projects import (
    KeyBody,
    KeyChange,
    KeyQuery,
    NewProjectKey,
    ProjectKey,
    ProjectKeyDeleted,
    ProjectKeyList,
    RotateBody,
)
from web.services import current
from worker.storage.keys import Key

project_keys = Resource("project_keys", __name__)
ROOT = "/v1/organization/projects/<project_id>/api_keys"


@project_keys.on(f"POST {ROOT}", "Make an API key", "admin", body=KeyBody, answer=NewProjectKey)
def create(project_id: str, body: KeyBody) -> NewProjectKey:
    """Its ``value`` is shown this once; only its hash is kept."""
    services = current()
    services.tenants.get(visible(project_id))
    key, plaintext = services.keys.create(
        project_id,
        body.name,
        list(body.scopes),
        expires_in=body.expires_in_seconds,
        actor=actor(),
    )
    return NewProjectKey.model_construct(**_fields(key), value=plaintext)


@project_keys.on(f"GET {ROOT}", "List API keys", "admin", query=KeyQuery, answer=ProjectKeyList)
def index(project_id: str, query: KeyQuery) -> ProjectKeyList:
    """Without their secrets, the oldest first; those that were revoked too."""
    services = current()
    services.tenants.get(visible(project_id))
    known = [] if query.owner_project_access == "inactive" else services.keys.list(project_id)
    page = page_of(known, query.after, query.limit)
    data = [view(key) for key in page.items]
    return ProjectKeyList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@project_keys.on(f"GET {ROOT}/<key_id>", "Show an API key", "admin", answer=ProjectKey)
def show(project_id: str, key_id: str) -> ProjectKey:
    """Without its secret."""
    return view(current().keys.get(visible(project_id), key_id))


@project_keys.on(
    f"POST {ROOT}/<key_id>", "Change an API key", "admin", body=KeyChange, answer=ProjectKey
)
def change(project_id: str, key_id: str, body: KeyChange) -> ProjectKey:
    """Its scopes, or how long it is valid from now on; elsewhere within five seconds."""
    changed = current().keys.change(
        visible(project_id),
        key_id,
        scopes=body.scopes,
        expires_in=body.expires_in_seconds,
        actor=actor(),
    )
    return view(changed)


@project_keys.on(
    f"POST {ROOT}/<key_id>/rotate",
    "Replace an API key",
    "admin",
    body=RotateBody,
    answer=NewProjectKey,
)
def rotate(project_id: str, key_id: str, body: RotateBody) -> NewProjectKey:
    """A new key with the same scopes; the old one stays valid for ``grace_seconds``."""
    key, plaintext = current().keys.rotate(
        visible(project_id), key_id, grace_seconds=body.grace_seconds, actor=actor()
    )
    return NewProjectKey.model_construct(**_fields(key), value=plaintext)


@project_keys.on(f"DELETE {ROOT}/<key_id>", "Revoke an API key", "admin", answer=ProjectKeyDeleted)
def revoke(project_id: str, key_id: str) -> ProjectKeyDeleted:
    """Of no use from now on, in other processes within five seconds."""
    current().keys.revoke(visible(project_id), key_id, actor())
    return ProjectKeyDeleted(id=key_id)


def view(key: Key) -> ProjectKey:
    """A key as clients see it."""
    return ProjectKey.model_construct(**_fields(key))


def _fields(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "created_at": int(key.created_at),
        "expires_at": None if key.expires_at is None else int(key.expires_at),
        "revoked_at": None if key.revoked_at is None else int(key.revoked_at),
        "redacted_value": f"tg_{key.id}_…",
        "scopes": list(key.scopes),
    }
