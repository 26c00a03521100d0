"""/v1/states and /v1/next_tokens: texts that go on from where they stand."""

from __future__ import annotations

from flask import Response

from web.auth import tenant
from web.engine_answers import begin, whole
from web.resource import Resource
from web.schemas.base import Deleted
from web.schemas.states import NextTokens, StateList, StateObject, StateQuery
from web.services import current
from worker.generation.endpoints import NEXT_TOKENS
from worker.generation.next_tokens import NextTokensBody
from worker.storage.text_states import StoredState

states = Resource("states", __name__)


@states.on(
    "POST /v1/next_tokens",
    "Tell the likeliest next tokens",
    "generate",
    body=NextTokensBody,
    check=NextTokensBody.check,
    answer=NextTokens,
)
def next_tokens(body: NextTokensBody) -> Response:
    """With their probabilities, and the state from which one that the caller picks goes on."""
    return whole(begin(NEXT_TOKENS, body))


@states.on("GET /v1/states", "List states", "generate", query=StateQuery, answer=StateList)
def index(query: StateQuery) -> StateList:
    """The newest first; they leave by themselves."""
    found = current().states.of_tenant(tenant())
    if query.after is not None:
        found = [each for each in found if each.id < query.after]
    page = [view(each) for each in found[: query.limit]]
    return StateList(
        data=page,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
        has_more=len(found) > query.limit,
    )


@states.on("GET /v1/states/<state_id>", "Show a state", "generate", answer=StateObject)
def show(state_id: str) -> StateObject:
    """Which model it is of, and how long it stays; to look at it does not make it stay longer."""
    return view(current().states.get(tenant(), state_id))


@states.on("DELETE /v1/states/<state_id>", "Delete a state", "generate", answer=Deleted)
def delete(state_id: str) -> Deleted:
    """Nothing goes on from it any more."""
    current().states.delete(tenant(), state_id)
    return Deleted(id=state_id, object="state")


def view(state: StoredState) -> StateObject:
    """A state as clients see it."""
    return StateObject(
        id=state.id,
        created_at=state.created_at,
        expires_at=state.expires_at,
        model=state.model,
        tokens=state.tokens,
        bytes=state.bytes,
    )
