"""/v1/tokenize and /v1/detokenize: what a model reads a text as. No worker takes part."""

from __future__ import annotations

from web.auth import tenant
from web.resource import Resource
from web.schemas.tokenization import Detokenized, Tokens
from web.services import Services, current
from worker.generation.model_tokenizers import ModelTokenizer
from worker.generation.serving import find_trained
from worker.generation.tokenization import DetokenizeBody, TokenizeBody

tokenization = Resource("tokenization", __name__)


@tokenization.on(
    "POST /v1/tokenize",
    "Turn a text into token ids",
    "generate",
    "read",
    body=TokenizeBody,
    check=TokenizeBody.check,
    answer=Tokens,
)
def tokenize(body: TokenizeBody) -> Tokens:
    """As the model reads it, with the marks and ends that stand around it."""
    services = current()
    limit = services.settings.max_prompt_characters
    body.check_limits(max_characters=limit)
    model = _tokenizer(services, body.model)
    tokens = body.encode(model)
    names = map(model.tokenizer.token_name, tokens)
    shown = list(names) if body.return_token_strs else None
    return Tokens.model_construct(
        count=len(tokens), max_model_len=limit, tokens=tokens, token_strs=shown
    )


@tokenization.on(
    "POST /v1/detokenize",
    "Turn token ids into a text",
    "generate",
    "read",
    body=DetokenizeBody,
    answer=Detokenized,
)
def detokenize(body: DetokenizeBody) -> Detokenized:
    """Special ids have no text."""
    services = current()
    body.check_limits(max_characters=services.settings.max_prompt_characters)
    return Detokenized(prompt=body.decode(_tokenizer(services, body.model).tokenizer))


def _tokenizer(services: Services, model: str) -> ModelTokenizer:
    return services.tokenizers.of(find_trained(services.models, tenant(), model))
