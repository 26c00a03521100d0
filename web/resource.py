"""A blueprint whose every route says who may call it, what it takes and what it gives.

Authentication, checking of input, and the OpenAPI document are all made from that one line, so
a route cannot be open, unchecked or undescribed by oversight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from textgen.options import Options
from web import requests
from web.schemas.base import NoQuery
from worker.errors import NotFound

Scope = Literal["read", "generate", "train", "admin"]
View = Callable[..., BaseModel | ResponseReturnValue]
V = TypeVar("V", bound=View)


@dataclass(frozen=True)
class Operation:
    """One route: ``scopes`` (any of them is enough; none: open to all), input and output."""

    summary: str
    scopes: tuple[Scope, ...] = ()
    body: type[Options] | None = None
    query: type[Options] = NoQuery
    answer: type[BaseModel] | None = None
    media: tuple[str, ...] = ("application/json",)
    form: Mapping[str, Any] | None = None  # JSON schema of a multipart body
    operator: bool = False  # an admin of the operator's own project alone
    page: bool = False  # for people: without a session, on to the sign-in page
    check: Callable[[Mapping[str, Any]], Options] | None = None  # where the schema is not enough

    def arguments(self) -> dict[str, Options]:
        """Body and query of the current request, checked."""
        given: dict[str, Options] = {}
        query = requests.query(self.query)
        if self.query is not NoQuery:
            given["query"] = query
        if self.body is not None:
            parse = self.body.parse if self.check is None else self.check
            given["body"] = parse(requests.json_body())
        return given


class Details(TypedDict, total=False):
    """What a route may say beside its summary and scopes; see Operation."""

    body: type[Options]
    query: type[Options]
    answer: type[BaseModel]
    media: tuple[str, ...]
    form: Mapping[str, Any]
    operator: bool
    page: bool
    check: Callable[[Mapping[str, Any]], Options]


class Resource(Blueprint):
    """The routes of one noun; a view gets ``query`` and ``body`` as checked objects."""

    def __init__(self, name: str, import_name: str) -> None:
        super().__init__(name, import_name)
        self.operations: dict[str, Operation] = {}

    def on(
        self, route: str, summary: str, *scopes: Scope, **details: Unpack[Details]
    ) -> Callable[[V], V]:
        """Register a view for ``"GET /v1/things"``."""
        method, rule = route.split(" ")
        operation = Operation(summary, scopes, **details)

        def register(view: V) -> V:
            @wraps(view)
            def run(**path: str) -> ResponseReturnValue:
                if any("\0" in value for value in path.values()):  # no id that was ever given out
                    raise NotFound("There is nothing with this id.")
                found = view(**path, **operation.arguments())
                return json_answer(found) if isinstance(found, BaseModel) else found

            self.operations[f"{self.name}.{view.__name__}"] = operation
            self.add_url_rule(rule, view.__name__, run, methods=[method])
            return view

        return register


def json_answer(shape: BaseModel, status: int = 200) -> Response:
    """A response model as the answer's body."""
    return Response(shape.model_dump_json(), status, mimetype="application/json")
