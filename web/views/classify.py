"""/v1/classify: which of the classes that a model has learnt a text belongs to."""

from __future__ import annotations

from flask import Response

from web.engine_answers import begin, whole
from web.resource import Resource
from web.schemas.classification import Classifications
from worker.generation.classification import ClassifyBody
from worker.generation.endpoints import CLASSIFY

classify = Resource("classify", __name__)


@classify.on(
    "POST /v1/classify",
    "Classify texts",
    "generate",
    body=ClassifyBody,
    check=ClassifyBody.check,
    answer=Classifications,
)
def create(body: ClassifyBody) -> Response:
    """All texts are read together; the work stops when the client leaves."""
    return whole(begin(CLASSIFY, body))
