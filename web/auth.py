"""Who calls: an API key in the Authorization header, or a browser's session.

A session is a short-lived key of its own that lives in a cookie, so signing out, expiry and
revocation are those of keys. It may do what its scopes allow. What changes something must come
from a page of our own: browsers say so in headers that no foreign page can set.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from flask import Flask, Response, g, redirect, request

from web.key_rules import check_project, check_scopes
from web.resource import Operation
from web.return_paths import return_path
from web.services import current
from worker import logs
from worker.errors import Forbidden, Unauthenticated
from worker.storage.keys import DEFAULT_TENANT, Key
from worker.tenants.audit import Actor

SESSION_COOKIE = "textgen_session"
SESSION_SECONDS = 12 * 3600
SAFE_METHODS = ("GET", "HEAD")


def install(app: Flask, operations: Mapping[str, Operation]) -> None:
    """Ask for a key before every view but those that are open to all."""

    def check() -> Response | None:
        operation = operations.get(request.endpoint or "")
        if request.method == "OPTIONS" or request.endpoint in (None, "static"):
            return None
        if operation is None:
            raise Forbidden(f"{request.path} has no rule that says who may call it.")
        if not operation.scopes:
            return None
        return _admit(operation)

    app.before_request(check)


def _admit(operation: Operation) -> Response | None:
    try:
        key = authenticate()
    except Unauthenticated:
        if operation.page:
            return _to_sign_in()
        raise
    check_scopes(key, operation.scopes)
    if operation.operator and not _is_operator(key):
        raise Forbidden(
            f"Only an admin of the project {DEFAULT_TENANT!r} may do this.", code="operator_only"
        )
    found = check_project(current().tenants, key)
    g.key = key
    logs.add(tenant=key.tenant)
    limit = found.limits.requests_per_minute
    if limit is not None and request.path.startswith("/v1/"):
        g.windows = {"requests": current().rates.request(key.tenant, limit)}
    return None


def authenticate() -> Key:
    """The key of the current request; raises Unauthenticated."""
    header = request.headers.get("Authorization")
    if header is not None:
        kind, _, plaintext = header.partition(" ")
        if kind.lower() != "bearer" or not plaintext.strip():
            raise Unauthenticated("The Authorization header must be 'Bearer' and an API key.")
        key = current().keys.authenticate(plaintext.strip())
        if key.owner is not None:
            raise Unauthenticated("This is a browser's session. Programs send a key of their own.")
        return key
    session = request.cookies.get(SESSION_COOKIE)
    if session is not None:
        if request.method not in SAFE_METHODS:
            check_origin(known=True)
        return current().keys.authenticate(session)
    raise Unauthenticated(
        "No API key was sent. Send the header 'Authorization: Bearer tg_…'; the first key is in "
        "the file 'credentials' under TEXTGEN_HOME.",
        code="missing_api_key",
    )


def check_origin(*, known: bool = False) -> None:
    """Refuse what another site's page has sent, and with ``known`` what no page says it has."""
    origin = request.headers.get("Origin")
    own = {request.host, urlsplit(current().settings.public_url).netloc} - {""}
    if origin is None:
        if known and request.headers.get("Sec-Fetch-Site") != "same-origin":
            raise Forbidden(
                "A browser's session changes things from the pages of this service alone. "
                "Programs send the header 'Authorization: Bearer tg_…'.",
                code="foreign_origin",
            )
    elif urlsplit(origin).netloc not in own:
        raise Forbidden("This was sent from another site.", code="foreign_origin")


def _is_operator(key: Key) -> bool:
    return key.tenant == DEFAULT_TENANT and "admin" in key.scopes


def is_operator() -> bool:
    """Whether the caller may look at, and change, every project."""
    return _is_operator(key())


def actor() -> Actor:
    """Who the caller is, for the audit log."""
    return Actor(key().tenant, key().id)


def key() -> Key:
    """The key that the current request came with."""
    found: Key = g.key
    return found


def tenant() -> str:
    """Whose data the current request is about."""
    return key().tenant


def _to_sign_in() -> Response:
    answer = redirect(f"{request.script_root}/signin?next={quote(return_path())}", 303)
    return Response("", 303, {"Location": answer.headers["Location"]})
