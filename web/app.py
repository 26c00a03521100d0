"""The app factory: the routes, what happens before and after each request, and nothing global."""

from __future__ import annotations

import logging
import secrets
import time
from functools import cache, partial

from flask import Flask, Response, g, request

from web import auth, cors, errors, openapi
from web.metrics import Metrics, method_label
from web.pages import page
from web.pages.batch_pages import batch_pages
from web.pages.comparison import comparison
from web.pages.corpora import corpora
from web.pages.corpus_report import corpus_report
from web.pages.invoice_pages import invoice_pages
from web.pages.job_pages import job_pages
from web.pages.keys import keys
from web.pages.live import live
from web.pages.model_pages import model_pages
from web.pages.overview import overview
from web.pages.playground import playground
from web.pages.sessions import sessions
from web.pages.settings import settings_pages
from web.pages.training_form import training_form
from web.pages.usage_pages import usage_pages
from web.pages.webhook_pages import webhook_pages
from web.pages.workers import worker_pages
from web.proxy import behind_proxy
from web.resource import Operation, Resource
from web.services import Services
from web.views.admin_keys import admin_keys
from web.views.aliases import aliases
from web.views.audit_logs import audit_logs
from web.views.batches import batches
from web.views.billing import billing
from web.views.chat import chat
from web.views.classify import classify
from web.views.completions import completions
from web.views.documentation import documentation
from web.views.embeddings import embeddings
from web.views.evaluations import evaluations
from web.views.examinations import examinations
from web.views.files import files
from web.views.fine_tuning import fine_tuning
from web.views.health import health
from web.views.insertions import insertions
from web.views.jobs import jobs
from web.views.models import models
from web.views.project_keys import project_keys
from web.views.project_limits import project_limits
from web.views.projects import projects
from web.views.scores import scores
from web.views.service_accounts import service_accounts
from web.views.states import states
from web.views.tokenization import tokenization
from web.views.uploads import uploads
from web.views.usage import usage
from web.views.uses import uses
from web.views.webhooks import webhooks
from worker import logs, tracing

ACCESS = logging.getLogger("textgen.access")

RESOURCES: tuple[Resource, ...] = (
    files,
    uploads,
    models,
    aliases,
    fine_tuning,
    completions,
    states,
    insertions,
    chat,
    embeddings,
    tokenization,
    classify,
    batches,
    scores,
    evaluations,
    examinations,
    jobs,
    uses,
    projects,
    project_keys,
    service_accounts,
    project_limits,
    admin_keys,
    audit_logs,
    usage,
    billing,
    webhooks,
    health,
    documentation,
    overview,
    corpora,
    corpus_report,
    training_form,
    comparison,
    job_pages,
    playground,
    batch_pages,
    model_pages,
    worker_pages,
    usage_pages,
    invoice_pages,
    keys,
    settings_pages,
    webhook_pages,
    live,
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
    page.install(app, operations)
    app.before_request(_begin)
    auth.install(app, operations)
    app.after_request(_finish)
    app.teardown_request(_end_trace)
    cors.install(app, services.settings.cors_origins)
    app.extensions["textgen-openapi"] = cache(partial(openapi.document, app, operations))
    if services.settings.public_url:
        app.wsgi_app = behind_proxy(app.wsgi_app, services.settings.public_url)  # type: ignore[method-assign, assignment]
    return app


def _begin() -> None:
    g.request_id = f"req_{secrets.token_hex(12)}"
    g.started = time.perf_counter()
    logs.begin(request_id=g.request_id)
    if tracing.enabled():
        _begin_trace()


def _begin_trace() -> None:
    """A span from here until the answer begins; the caller's trace goes on in it."""
    method = method_label(request.method)
    route = request.path if request.url_rule is None else request.url_rule.rule
    values = {
        "http.request.method": method,
        "http.route": route,
        "textgen.request_id": g.request_id,
    }
    context = tracing.parent(request.headers.get("traceparent"))
    g.span = tracing.start(f"{method} {route}", context, values=values)
    g.span_token = tracing.enter(g.span)


def _end_trace(_: BaseException | None) -> None:
    token = g.pop("span_token", None)
    if token is not None:
        tracing.leave(token)
        g.span.end()


def _finish(response: Response) -> Response:
    response.headers["x-request-id"] = g.get("request_id", "")
    for noun, window in g.get("windows", {}).items():
        response.headers.update(window.headers(noun))
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    started = g.get("started")
    if started is not None:
        seconds = time.perf_counter() - started
        Metrics.of_app().observe(request.url_rule, request.method, response.status_code, seconds)
        _log(response.status_code, seconds)
    if "span" in g:
        g.span.set_attribute("http.response.status_code", response.status_code)
    return response


def _log(status: int, seconds: float) -> None:
    """One line for each request, where programs read them; never its query, which may sign in."""
    if ACCESS.isEnabledFor(logging.INFO):
        about = {"status": status, "seconds": round(seconds, 6)}
        ACCESS.info("%s %s %d", request.method, request.path, status, extra={"about": about})
