"""What every page has: its frame, its place in the navigation, its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from flask import Flask, Response, g, redirect, render_template, request, url_for

from textgen.errors import TextgenError
from textgen.options import Options
from web.auth import key
from web.errors import answer_for
from web.pages import figures, language
from web.pages.language import _
from web.resource import Operation, Resource, Scope, V
from web.return_paths import return_path

THEME = "textgen_theme"  # the cookie
THEMES = ("system", "light", "dark")


@dataclass(frozen=True)
class Place:
    """An entry of the navigation; shown to keys with one of the scopes."""

    endpoint: str
    title: Callable[[], str]
    scopes: tuple[Scope, ...] = ("read", "admin")


NAVIGATION = (
    Place("overview.index", lambda: _("Overview")),
    Place("corpora.index", lambda: _("Corpora")),
    Place("job_pages.index", lambda: _("Jobs")),
    Place("model_pages.index", lambda: _("Models")),
    Place("batch_pages.index", lambda: _("Batches")),
    Place("playground.index", lambda: _("Playground"), ("generate", "admin")),
    Place("worker_pages.index", lambda: _("Workers")),
    Place("usage_pages.index", lambda: _("Usage")),
    Place("keys.index", lambda: _("Keys"), ("admin",)),
    Place("settings_pages.index", lambda: _("Settings")),
)


class PageDetails(TypedDict, total=False):
    """What a page may say beside its summary and scopes; see Operation."""

    query: type[Options]
    operator: bool


class Pages(Resource):
    """Routes whose answers are pages; who has no session is sent to sign in."""

    def page(
        self, route: str, summary: str, *scopes: Scope, **details: Unpack[PageDetails]
    ) -> Callable[[V], V]:
        """Register a view for ``"GET /things"``, or for ``"POST /things"``, which takes a form."""
        return self.on(route, summary, *scopes, page=True, media=("text/html",), **details)


def render(template: str, status: int = 200, **values: Any) -> Response:
    """A page in the reader's language, in the frame of all pages."""
    return Response(render_template(template, **values), status, mimetype="text/html")


def render_error(template: str, error: TextgenError, **values: Any) -> Response:
    """A page that shows a form again, with the API's own words beside the field."""
    return render(template, answer_for(error).status, error=error, **values)


def go(endpoint: str, **values: Any) -> Response:
    """On to another page, once a form has been dealt with."""
    location = redirect(url_for(endpoint, **values), 303).headers["Location"]
    return Response("", 303, {"Location": location})


def install(app: Flask, operations: Mapping[str, Operation]) -> None:
    """Give templates what they all need, and turn errors on pages into pages."""
    language.install(app)
    figures.install(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    def frame() -> dict[str, Any]:
        scopes = set(key().scopes) if signed_in() else set()
        return {
            "languages": language.LANGUAGES,
            "language": language.language(),
            "return_path": return_path(),
            "navigation": [place for place in NAVIGATION if scopes & set(place.scopes)],
            "theme": theme if (theme := request.cookies.get(THEME)) in THEMES else "system",
            "scopes": scopes,
            "signed_in": signed_in(),
        }

    def as_page(response: Response) -> Response:
        operation = operations.get(request.endpoint or "")
        wanted = operation.page if operation else "text/html" in request.accept_mimetypes.values()
        if response.status_code < 400 or not wanted or not response.is_json:
            return response
        said = response.get_json()["error"]
        headers = dict(response.headers)
        page = render("error.html", response.status_code, said=said)
        for name in ("Retry-After", "WWW-Authenticate", "Allow"):
            if name in headers:
                page.headers[name] = headers[name]
        return page

    app.context_processor(frame)
    app.after_request(as_page)


def signed_in() -> bool:
    """Whether the current request came with a key or session that holds."""
    return "key" in g
