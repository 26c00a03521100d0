"""Where a reader goes on after a form that is about no page: the language, signing in."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from flask import current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BuildError, MapAdapter

from web.services import current

READING = ("GET", "HEAD")


def return_path() -> str:
    """Path and query, on this server, of a page that GET shows.

    That of the current request; of a form that was sent the page that it stood on, else one at
    its own address, else the list that it belongs to.
    """
    if request.method in READING:
        return request.full_path.rstrip("?")
    routes = current_app.url_map.bind("")  # paths without the prefix that a proxy strips
    return _referrer(routes) or _own_page(routes) or _index(routes)


def _referrer(routes: MapAdapter) -> str | None:
    """The page that the browser says the form stood on, where it is ours and can be read."""
    parts = urlsplit(request.referrer or "")
    path = parts.path.removeprefix(request.script_root)
    own = {request.host, urlsplit(current().settings.public_url).netloc} - {""}
    if parts.netloc not in own or not _can_be_read(routes, unquote(path)):
        return None
    return f"{path}?{parts.query}" if parts.query else path


def _own_page(routes: MapAdapter) -> str | None:
    return request.path if _can_be_read(routes, request.path) else None


def _index(routes: MapAdapter) -> str:
    try:
        return routes.build(f"{request.blueprint}.index")
    except BuildError:
        return "/"


def _can_be_read(routes: MapAdapter, path: str) -> bool:
    """Whether GET has a page there: not a form's address taken for a model's id with a slash."""
    try:
        page, _ = routes.match(path, method="GET", return_rule=True)
    except HTTPException:
        return False
    try:
        form, _ = routes.match(path, method="POST", return_rule=True)
    except HTTPException:
        return True
    return page.rule == form.rule or len(page.arguments) < len(form.arguments)
