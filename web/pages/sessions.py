"""Signing in to the dashboard with a key or a one-time link, and out again."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from flask import Response, redirect, request

from textgen.options import Options
from web.auth import SESSION_COOKIE, SESSION_SECONDS, check_origin
from web.pages.language import COOKIE, LANGUAGES, _, said
from web.pages.page import THEME, THEMES, Pages, render
from web.services import current
from worker.errors import Unauthenticated
from worker.storage.keys import Key

sessions = Pages("sessions", __name__)
YEAR_SECONDS = 365 * 86_400


class SignInQuery(Options):
    """Where to go afterwards, and the token of a one-time link."""

    next: str | None = None
    token: str | None = None


@sessions.page("GET /signin", "The sign-in page", query=SignInQuery)
def form(query: SignInQuery) -> Response:
    """With ``token`` from a one-time link: sign in at once."""
    if query.token is None:
        return _page("", query.next)
    try:
        owner = current().keys.redeem_link(query.token)
    except Unauthenticated as error:
        return _page(said(error.message), query.next)
    return _sign_in(owner, query.next)


@sessions.page("POST /signin", "Sign in with a key")
def sign_in() -> Response:
    """The key is checked, and a short-lived one takes its place in the browser."""
    check_origin()
    target = request.form.get("next")
    try:
        owner = current().keys.authenticate(request.form.get("key", "").strip())
    except Unauthenticated:
        return _page(_("This key is not known, or no longer valid."), target)
    return _sign_in(owner, target)


@sessions.page("POST /signout", "Sign out")
def sign_out() -> Response:
    """The session ends here and on the server."""
    check_origin()
    plaintext = request.cookies.get(SESSION_COOKIE)
    if plaintext is not None:
        keys = current().keys
        with suppress(Unauthenticated):  # it may have ended already
            session = keys.authenticate(plaintext)
            keys.revoke(session.tenant, session.id)
    answer = _to("/signin")
    answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="Lax")
    return answer


@sessions.page("POST /language", "Choose the language of the pages")
def choose_language() -> Response:
    """Kept in the browser for a year."""
    check_origin()
    answer = _to(_own_path(request.form.get("next")))
    chosen = request.form.get("language", "")
    if chosen in LANGUAGES:
        answer.set_cookie(COOKIE, chosen, max_age=YEAR_SECONDS, httponly=True, samesite="Lax")
    return answer


@sessions.page("POST /theme", "Choose the colours of the pages", "read")
def choose_theme() -> Response:
    """Kept in the browser for a year; ``system`` follows it."""
    answer = _to(_own_path(request.form.get("next")))
    chosen = request.form.get("theme", "")
    if chosen in THEMES:
        answer.set_cookie(THEME, chosen, max_age=YEAR_SECONDS, httponly=True, samesite="Lax")
    return answer


def _sign_in(owner: Key, target: str | None) -> Response:
    try:
        _, plaintext = current().keys.sign_in(owner, SESSION_SECONDS)
    except Unauthenticated as error:
        return _page(said(error.message), target)
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
    status = 401 if problem else 200
    return render("signin.html", status, problem=problem, next=_own_path(target))
