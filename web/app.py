"""The app factory: the routes, what happens before and after each request, and nothing global."""

from __future__ import annotations

import secrets
import time

from flask import Flask, Response, g, request

from web import auth, cors, errors, openapi
from web.metrics import Metrics
from web.proxy import behind_proxy
from web.resource import Operation, Resource
from web.services import Services
from web.views.aliases import aliases
from web.views.audit_logs import audit_logs
from web.views.batches import batches
from web.views.billing import billing
from web.views.chat import chat
from web.views.classify import classify
from web.views.completions import completions
from web.views.dashboard import dashboard
from web.views.documentation import documentation
from web.views.embeddings import embeddings
from web.views.evaluations import evaluations
from web.views.files import files
from web.views.fine_tuning import fine_tuning
from web.views.health import health
from web.views.jobs import jobs
from web.views.models import models
from web.views.project_keys import project_keys
from web.views.projects import projects
from web.views.scores import scores
from web.views.sessions import sessions
from web.views.states import states
from web.views.tokenization import tokenization
from web.views.uploads import uploads
from web.views.usage import usage
from web.views.uses import uses
from web.views.webhooks import webhooks

RESOURCES: tuple[Resource, ...] = (
    files,
    uploads,
    models,
    aliases,
    fine_tuning,
    completions,
    states,
    chat,
    embeddings,
    tokenization,
    classify,
    batches,
    scores,
    evaluations,
    jobs,
    uses,
    projects,
    project_keys,
    audit_logs,
    usage,
    billing,
    webhooks,
    health,
    documentation,
    dashboard,
    sessions,
)
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, browsers would hide a form's origin from us
}


def create_app(services: Services) -> Flask:
    """The whole web application around these services."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = services.settings.max_body_bytes
    app.url_map.merge_slashes = False  # an id may hold slashes
    app.extensions["textgen"] = services
    app.extensions["textgen-metrics"] = Metrics()
    operations: dict[str, Operation] = {}
    for resource in RESOURCES:
        app.register_blueprint(resource)
        operations.update(resource.operations)
    errors.install(app)
    app.before_request(_begin)
    auth.install(app, operations)
    app.after_request(_finish)
    cors.install(app, services.settings.cors_origins)
    app.extensions["textgen-openapi"] = openapi.document(app, operations)
    if services.settings.public_url:
        app.wsgi_app = behind_proxy(app.wsgi_app, services.settings.public_url)  # type: ignore[method-assign, assignment]
    return app


def _begin() -> None:
    g.request_id = f"req_{secrets.token_hex(12)}"
    g.started = time.perf_counter()


def _finish(response: Response) -> Response:
    response.headers["x-request-id"] = g.get("request_id", "")
    if (window := g.get("window")) is not None:
        response.headers.extend(window.headers())
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    started = g.get("started")
    if started is not None:
        Metrics.of_app().observe(
            request.url_rule, request.method, response.status_code, time.perf_counter() - started
        )
    return response
