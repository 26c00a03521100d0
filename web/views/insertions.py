"""/v1/insertions: texts that grow in their middle, by models that have learnt to fill gaps."""

from __future__ import annotations

import json
import time

from flask import Response

from web.engine_answers import begin, label, wait_for
from web.resource import Resource
from web.schemas.insertions import InsertionObject
from worker.contracts import Usage
from worker.generation.completions import new_seed
from worker.generation.endpoints import GAPS
from worker.generation.insertions import GapsAnswer, GrowingText, InsertionBody
from worker.generation.work import Work

insertions = Resource("insertions", __name__)


@insertions.on(
    "POST /v1/insertions",
    "Insert into a text",
    "generate",
    body=InsertionBody,
    check=InsertionBody.check,
    answer=InsertionObject,
)
def create(body: InsertionBody) -> Response:
    """One round after the other; the work stops when the client leaves."""
    created = int(time.time())
    seed = new_seed() if body.seed is None else body.seed
    growing = GrowingText(body.input, body.positions)
    rounds: list[Work[GapsAnswer]] = []
    while len(rounds) < body.max_insertions and (places := growing.places(first=not rounds)):
        work = begin(GAPS, body.round(growing.text, places, seed))
        wait_for(work, labelled=False)
        rounds.append(work)
        found = work.answer.surest()
        if found is None:
            break
        growing.insert(places[found.gap], found)
    usages = [work.answer.usage for work in rounds]
    answer = growing.body(
        rounds[0].request.id,
        rounds[0].model,
        created,
        Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
        ),
    )
    answer["text"] += label()
    return Response(json.dumps(answer), mimetype="application/json")
