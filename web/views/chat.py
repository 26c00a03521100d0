"""/v1/chat/completions: replies in a conversation, from models that learnt from conversations."""

from __future__ import annotations

from flask import Response

from web.engine_answers import begin, streamed, whole
from web.resource import Resource
from web.schemas.chat import ChatCompletion
from worker.generation.chat import ChatBody
from worker.generation.endpoints import CHAT

chat = Resource("chat", __name__)


@chat.on(
    "POST /v1/chat/completions",
    "Reply in a conversation",
    "generate",
    body=ChatBody,
    check=ChatBody.check,
    answer=ChatCompletion,
    media=("application/json", "text/event-stream"),
)
def create(body: ChatBody) -> Response:
    """With ``stream`` the text comes as it is made; the work stops when the client leaves."""
    work = begin(CHAT, body)
    if not body.stream:
        return whole(work)
    options = body.stream_options
    return streamed(work, with_usage=options is not None and options.include_usage)
