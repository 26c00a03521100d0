"""/v1/embeddings: texts as vectors, by what a trained model makes of them."""

from __future__ import annotations

from flask import Response

from web.engine_answers import begin, whole
from web.resource import Resource
from web.schemas.embeddings import Embeddings
from worker.generation.embeddings import EmbeddingsBody
from worker.generation.endpoints import EMBEDDINGS

embeddings = Resource("embeddings", __name__)


@embeddings.on(
    "POST /v1/embeddings",
    "Embed texts",
    "generate",
    body=EmbeddingsBody,
    check=EmbeddingsBody.check,
    answer=Embeddings,
)
def create(body: EmbeddingsBody) -> Response:
    """All texts are read together; the work stops when the client leaves."""
    return whole(begin(EMBEDDINGS, body))
