"""/models: every trained model, found, looked at, taken out, brought in and deleted."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, url_for
from pydantic import Field

from textgen.errors import TextgenError
from textgen.options import ObjectiveName
from web.auth import tenant
from web.evaluation_pages import page_in
from web.pages.forms import body_of_form
from web.pages.language import language
from web.pages.lists import ROWS, ListQuery, pager
from web.pages.model_card import model_card, newest_page
from web.pages.model_rows import model_row
from web.pages.page import Pages, go, render, render_error
from web.schemas.evaluations import EvaluationBody
from web.schemas.models import AliasBody
from web.services import current
from web.views import aliases, evaluations
from web.views import models as api
from worker.errors import NotFound
from worker.storage.model_search import Key
from worker.storage.models import Model

model_pages = Pages("model_pages", __name__)

Shown = Literal["finished", "checkpoint", "imported", "all"]
SHOWN: tuple[Shown, ...] = ("finished", "checkpoint", "imported", "all")
OBJECTIVES: tuple[ObjectiveName, ...] = ("causal", "infill", "mask", "order", "classify")
IMPORT_FIELDS = ("file", "alias", "suffix")


class ModelListQuery(ListQuery):
    """A part of the models; ``after`` is a time of making and an id."""

    origin: Shown = "finished"
    objective: ObjectiveName | None = None
    after: str | None = Field(None, max_length=400)


@model_pages.page("GET /models", "Models, for people", "read", query=ModelListQuery)
def index(query: ModelListQuery) -> Response:
    """The newest first."""
    return render("models.html", **_list(query))


@model_pages.page("POST /models", "Import a model, by a form", "train")
def take_in() -> Response:
    """As POST /v1/models: on to the model."""
    try:
        made = api.create()
    except TextgenError as error:
        return render_error("models.html", error, **_list(ModelListQuery()))
    return go("model_pages.show", model_id=made.id)


@model_pages.page("GET /models/<path:model_id>", "A model, for people", "read")
def show(model_id: str) -> Response:
    """What it learnt from, how well it does, where it comes from, what came of it."""
    return _card(model_id)


@model_pages.page("GET /models/<path:model_id>/delete", "Before a model is deleted", "train")
def ask(model_id: str) -> Response:
    """What has used it."""
    found = _trained(model_id)
    return render(
        "delete.html",
        name=found.id,
        back=url_for("model_pages.show", model_id=found.id),
        used=current().uses.of(tenant(), "model", found.id),
    )


@model_pages.page("POST /models/<path:model_id>/delete", "Delete a model, by a form", "train")
def delete(model_id: str) -> Response:
    """As DELETE /v1/models/{id}: back to the list."""
    api.delete(_trained(model_id).id)
    return go("model_pages.index")


@model_pages.page(
    "POST /models/<path:model_id>/evaluate", "Evaluate a model, by a form", "train", "generate"
)
def evaluate(model_id: str) -> Response:
    """As POST /v1/evaluations, on what was held out of its training: on to the job."""
    body = EvaluationBody.parse({"model": _trained(model_id).id})
    started = evaluations.create(body)
    return go("job_pages.show", job_id=started.id)


@model_pages.page(
    "GET /models/<path:model_id>/report", "Download what an evaluation found, as a page", "read"
)
def report(model_id: str) -> Response:
    """The page of the newest evaluation that has succeeded, in the reader's language."""
    page = newest_page(current(), tenant(), _trained(model_id).id)
    return Response(
        page_in(language(), page),
        mimetype="text/html",
        headers={"Content-Disposition": "attachment; filename=report.html"},
    )


@model_pages.page("POST /models/<path:model_id>/aliases", "Name a model, by a form", "train")
def put_alias(model_id: str) -> Response:
    """As PUT /v1/aliases/{name}."""
    name, found = str(body_of_form().get("name", "")), _trained(model_id)
    try:
        aliases.put(name, AliasBody.parse({"model": found.id}))
    except TextgenError as error:
        return _card(model_id, error, name)
    return go("model_pages.show", model_id=model_id)


@model_pages.page(
    "POST /models/<path:model_id>/aliases/remove", "Forget a model's name, by a form", "train"
)
def remove_alias(model_id: str) -> Response:
    """As DELETE /v1/aliases/{name}."""
    _trained(model_id)
    aliases.delete(str(body_of_form().get("name", "")))
    return go("model_pages.show", model_id=model_id)


def _card(model_id: str, error: TextgenError | None = None, name: str = "") -> Response:
    found = _trained(model_id)
    card = model_card(current(), tenant(), found)
    values: dict[str, Any] = {"model": api.view(found), "card": card, "name": name}
    if error is not None:
        return render_error("model.html", error, **values)
    return render("model.html", **values)


def _trained(model_id: str) -> Model:
    """A model by its id or alias; raises NotFound, also for a preset, which is no model yet."""
    if model_id in api.DESCRIPTIONS:
        raise NotFound(
            f"{model_id!r} is a preset, a shape to train: start a training from it.",
            code="model_not_trained",
        )
    return current().models.resolve(tenant(), model_id)


def _list(query: ModelListQuery) -> dict[str, Any]:
    services = current()
    found = services.models.search(
        tenant(),
        query.q,
        origin=None if query.origin == "all" else query.origin,
        objective=query.objective,
        after=_key(query.after),
        limit=ROWS,
    )
    names = services.models.names(tenant(), [model.id for model in found.items])
    following = found.following
    last = None if following is None else f"{following[0]!r}~{following[1]}"
    return {
        "query": query,
        "rows": [model_row(model, names.get(model.id, ())) for model in found.items],
        "found": found,
        "shown": SHOWN,
        "objectives": OBJECTIVES,
        "fields": IMPORT_FIELDS,
        "pager": pager(query, last, last is not None),
        "here": url_for("model_pages.index"),
    }


def _key(after: str | None) -> Key | None:
    """Where a list goes on; what is no key is the beginning."""
    if after is None:
        return None
    made, _, model_id = after.partition("~")
    try:
        return float(made), model_id
    except ValueError:
        return None
