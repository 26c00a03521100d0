"""/openapi.json, /docs, which shows it to people, and /docs/errors."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, json

from web.error_reference import reference
from web.pages.page import Pages, render

documentation = Pages("documentation", __name__)


@documentation.on("GET /openapi.json", "This document", "read")
def openapi() -> Response:
    """OpenAPI 3.1, made from the routes themselves."""
    document: dict[str, Any] = current_app.extensions["textgen-openapi"]()
    return Response(json.dumps(document), mimetype="application/json")


@documentation.page("GET /docs", "The routes, for people", "read")
def docs() -> Response:
    """Made on the server."""
    document: dict[str, Any] = current_app.extensions["textgen-openapi"]()
    return render("docs.html", document=document)


@documentation.page("GET /docs/errors", "Every error code, for people")
def errors() -> Response:
    """Open to all, since an error may be that a key is missing."""
    return render("errors.html", reference=reference().values())
