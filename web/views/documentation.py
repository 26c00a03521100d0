"""/openapi.json, and /docs, which shows it to people."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, json, render_template

from web.resource import Resource

documentation = Resource("documentation", __name__)


@documentation.on("GET /openapi.json", "This document", "read")
def openapi() -> Response:
    """OpenAPI 3.1, made from the routes themselves."""
    document: dict[str, Any] = current_app.extensions["textgen-openapi"]
    return Response(json.dumps(document), mimetype="application/json")


@documentation.on("GET /docs", "The routes, for people", "read", page=True, media=("text/html",))
def docs() -> Response:
    """A page without scripts, made on the server."""
    document: dict[str, Any] = current_app.extensions["textgen-openapi"]
    return Response(render_template("docs.html", document=document), mimetype="text/html")
