"""Signing in to the dashboard with a key or a one-time link, and out again."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from flask import Response, redirect, render_template, request

from textgen.options import Options
from web.auth import SESSION_COOKIE, SESSION_SECONDS
from web.resource import Resource
from web.services import current
from worker.errors import Forbidden, Unauthenticated
from worker.storage.keys import Key
from worker.tenants.audit import Actor

sessions = Resource("sessions", __name__)


class SignInQuery(Options):
    """Where to go afterwards, and the token of a one-time link."""

    next: str | None = None
    token: str | None = None


@sessions.on("GET /signin", "The sign-in page", page=True, query=SignInQuery, media=("text/html",))
def form(query: SignInQuery) -> Response:
    """With ``token`` from a one-time link: sign in at once."""
    if query.token is None:
        return _page("", query.next)
    try:
        owner = current().keys.redeem_link(query.token)
    except Unauthenticated as error:
        return _page(error.message, query.next)
    return _sign_in(owner, query.next)


@sessions.on("POST /signin", "Sign in with a key", page=True, media=("text/html",))
def sign_in() -> Response:
    """The key is checked, and a short-lived one takes its place in the browser."""
    _check_origin()
    target = request.form.get("next")
    try:
        owner = current().keys.authenticate(request.form.get("key", "").strip())
    except Unauthenticated:
        return _page("This key is not known, or no longer valid.", target)
    return _sign_in(owner, target)


@sessions.on("POST /signout", "Sign out", page=True, media=("text/html",))
def sign_out() -> Response:
    """The session ends here and on the server."""
    _check_origin()
    plaintext = request.cookies.get(SESSION_COOKIE)
    if plaintext is not None:
        keys = current().keys
        with suppress(Unauthenticated):  # it may have ended already
            session = keys.authenticate(plaintext)
            keys.revoke(session.tenant, session.id)
    answer = _to("/signin")
    answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="Lax")
    return answer


def _sign_in(owner: Key, target: str | None) -> Response:
    _, plaintext = current().keys.create(
        owner.tenant,
        "browser session",
        owner.scopes,
        expires_in=SESSION_SECONDS,
        actor=Actor(owner.tenant, owner.id),
    )
    answer = _to(_own_path(target))
    answer.set_cookie(
        SESSION_COOKIE,
        plaintext,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=current().settings.public_url.startswith("https:") or request.is_secure,
    )
    return answer


def _own_path(target: str | None) -> str:
    """A path on this server; anything else would send people to strangers."""
    parts = urlsplit(target or "/")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    foreign = parts.scheme or parts.netloc or not path.startswith("/") or path.startswith("//")
    return "/" if foreign or "\\" in path else path


def _to(path: str) -> Response:
    answer = redirect(request.script_root + path, 303)
    return Response("", 303, {"Location": answer.headers["Location"]})


def _page(problem: str, target: str | None) -> Response:
    page = render_template("signin.html", problem=problem, next=_own_path(target))
    return Response(page, 401 if problem else 200, mimetype="text/html")


def _check_origin() -> None:
    """Refuse forms that another site's page has sent."""
    origin = request.headers.get("Origin")
    public = urlsplit(current().settings.public_url).netloc
    if origin is not None and urlsplit(origin).netloc not in {request.host, public} - {""}:
        raise Forbidden("This form was sent from another site.", code="foreign_origin")
