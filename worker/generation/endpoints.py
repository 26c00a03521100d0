"""The endpoints that the engine answers: from the body of a request to its work.

HTTP requests and the lines of a batch both come through here, so a line of a batch is refused for
the same reasons, with the same words, as a request. A further endpoint is one function and its
line in ``ENDPOINTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from textgen.option_model import Options
from worker.generation.answer import Answer
from worker.generation.chat import ChatBody
from worker.generation.chat_answer import ChatAnswer
from worker.generation.classification import ClassAnswer, ClassifyBody
from worker.generation.completion_answer import CompletionAnswer
from worker.generation.completions import CompletionBody
from worker.generation.embeddings import EmbeddingsBody, VectorsAnswer
from worker.generation.insertions import GapsAnswer, GapsToFill
from worker.generation.next_tokens import NextTokensAnswer, NextTokensBody
from worker.generation.serving import (
    find_classifier,
    find_embedder,
    find_filler,
    find_speaker,
    find_writer,
)
from worker.generation.work import Asker, Work

B = TypeVar("B", bound=Options)
A = TypeVar("A", bound=Answer)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[B, A]):
    """``check`` makes the body of what a client sent; ``make`` makes work of a body.

    Both raise InvalidOption; ``make`` also NotFound for an unknown model. ``make`` takes the
    request's id, which begins with ``prefix``, and the seed that counts where the body has none.
    """

    prefix: str
    check: Callable[[Mapping[str, Any]], B]
    make: Callable[[B, Asker, str, int], Work[A]]

    def begin(self, body: B, asker: Asker, request_id: str, seed: int) -> Work[A]:
        """The work of a body; its request knows whose it is, and whether it is streamed."""
        work = self.make(body, asker, request_id, seed)
        whose = {"tenant": asker.tenant, "stream": getattr(body, "stream", False)}
        return replace(work, request=work.request.model_copy(update=whose))


def complete(
    body: CompletionBody, asker: Asker, request_id: str, seed: int
) -> Work[CompletionAnswer]:
    """Texts after prompts."""
    body.check_limits(max_characters=asker.max_characters, max_choices=asker.max_prompts)
    model, bundle = find_writer(
        asker.models, asker.tenant, body.model, fills_gaps=body.suffix is not None
    )
    state = asker.state(body.state_id, model, bundle)
    keep = asker.keeper(model, bundle) if body.return_state else None
    request = body.to_request(request_id, bundle, seed, state)
    return Work(model, request, body.answer(keep))


def choose(
    body: NextTokensBody, asker: Asker, request_id: str, _seed: int
) -> Work[NextTokensAnswer]:
    """The likeliest next tokens."""
    body.check_limits(max_characters=asker.max_characters)
    model, bundle = find_writer(asker.models, asker.tenant, body.model, fills_gaps=False)
    state = asker.state(body.state_id, model, bundle)
    keep = asker.keeper(model, bundle) if asker.keeps_states else None
    return Work(model, body.to_request(request_id, bundle, state), NextTokensAnswer(keep))


def reply(body: ChatBody, asker: Asker, request_id: str, seed: int) -> Work[ChatAnswer]:
    """The next turns of a conversation."""
    body.check_limits(max_characters=asker.max_characters, max_choices=asker.max_prompts)
    model, bundle = find_speaker(asker.models, asker.tenant, body.model)
    state = asker.state(body.state_id, model, bundle)
    keep = asker.keeper(model, bundle) if body.return_state else None
    return Work(model, body.to_request(request_id, bundle, seed, state), body.answer(keep))


def embed(body: EmbeddingsBody, asker: Asker, request_id: str, _seed: int) -> Work[VectorsAnswer]:
    """Vectors of texts."""
    body.check_limits(max_characters=asker.max_characters, max_texts=asker.max_prompts)
    model, bundle, shape = find_embedder(asker.models, asker.tenant, body.model)
    body.check_dimensions(shape)
    answer = VectorsAnswer(len(body.input), body.encoding_format)
    return Work(model, body.to_request(request_id, bundle), answer)


def classify(body: ClassifyBody, asker: Asker, request_id: str, _seed: int) -> Work[ClassAnswer]:
    """Classes of texts."""
    body.check_limits(max_characters=asker.max_characters, max_texts=asker.max_prompts)
    model, bundle, labels = find_classifier(asker.models, asker.tenant, body.model)
    answer = ClassAnswer(len(body.input), labels, body.top_k)
    return Work(model, body.to_request(request_id, bundle), answer)


def fill(body: GapsToFill, asker: Asker, request_id: str, _seed: int) -> Work[GapsAnswer]:
    """What could stand at each of some places of a text."""
    body.check_limits(max_characters=asker.max_characters, max_places=asker.max_prompts)
    model, bundle = find_filler(asker.models, asker.tenant, body.model)
    return Work(model, body.to_request(request_id, bundle), GapsAnswer(len(body.places)))


COMPLETIONS = Endpoint("cmpl-", CompletionBody.check, complete)
CHAT = Endpoint("chatcmpl-", ChatBody.check, reply)
EMBEDDINGS = Endpoint("embd-", EmbeddingsBody.check, embed)
NEXT_TOKENS = Endpoint("next-", NextTokensBody.check, choose)
GAPS = Endpoint("ins-", GapsToFill.parse, fill)
CLASSIFY = Endpoint("class-", ClassifyBody.check, classify)

ENDPOINTS: Mapping[str, Endpoint[Any, Any]] = MappingProxyType(
    {
        "/v1/completions": COMPLETIONS,
        "/v1/chat/completions": CHAT,
        "/v1/embeddings": EMBEDDINGS,
        "/v1/classify": CLASSIFY,
    }
)
