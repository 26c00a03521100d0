"""/v1/classify: which of the classes that a model has learnt a text belongs to."""

from __future__ import annotations

import json
from typing import cast

from flask import Response

from web.answers import Entries, gather
from web.auth import tenant
from web.connection import current_client
from web.resource import Resource
from web.schemas.classification import Classifications
from web.services import current
from worker.generation.classification import ClassAnswer, ClassifyBody
from worker.generation.serving import find_classifier
from worker.storage.ids import new_id

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
    services = current()
    settings = services.settings
    body.check_limits(max_characters=settings.max_prompt_characters, max_texts=settings.max_prompts)
    model, bundle, labels = find_classifier(services.models, tenant(), body.model)
    request = body.to_request(new_id("class-"), bundle)
    answer = ClassAnswer(len(body.input), labels, body.top_k)
    with services.answers.take():
        services.completions.start(request)
        gather(current_client(), cast(Entries, services.completions.read(request.id)), answer)
    return Response(json.dumps(answer.body(request.id, model)), mimetype="application/json")
