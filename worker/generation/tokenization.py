"""Texts as token ids and back, in the shapes that vLLM's /tokenize and /detokenize have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from textgen.corpus.documents import Turn
from textgen.engine.context import TokenIds, conversation_ids
from textgen.errors import InvalidInput, InvalidOption
from textgen.option_model import Options
from textgen.tokenizers import Tokenizer
from worker.generation.chat import ChatMessage, known_messages
from worker.generation.model_tokenizers import ModelTokenizer


class TokenizeBody(Options):
    """Body of ``POST /v1/tokenize``: a text, or the messages of a conversation."""

    model: str = Field(min_length=1, max_length=300)
    prompt: str | None = None
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)] | None = None
    add_generation_prompt: bool = Field(
        True, description="whether messages end with the mark of the assistant's turn"
    )
    add_special_tokens: bool | None = Field(
        None,
        description="whether what the model reads around a text, or before messages, is there "
        "too; left out: around a text, not before messages",
    )
    return_token_strs: bool = Field(False, description="show every token as text, too")

    @field_validator("messages", mode="before")
    @classmethod
    def _known_messages(cls, value: object) -> object:
        return known_messages(value)

    @model_validator(mode="after")
    def _one_of_two(self) -> TokenizeBody:
        if (self.prompt is None) == (self.messages is None):
            raise InvalidOption(
                "Give 'prompt', a text, or 'messages', a conversation, and not both.",
                param="prompt",
            )
        return self

    @classmethod
    def check(cls, body: Mapping[str, Any]) -> TokenizeBody:
        """Check a request body; null means that a field is left out."""
        return cls.parse({name: value for name, value in body.items() if value is not None})

    def check_limits(self, *, max_characters: int) -> None:
        """Refuse what is too long for one request; raise InvalidOption."""
        texts = [self.prompt] if self.prompt is not None else [m.text for m in self.messages or ()]
        _check_size(sum(map(len, texts)), "characters", max_characters, "prompt")

    def encode(self, model: ModelTokenizer) -> list[int]:
        """The ids. With the special tokens, a prompt of them is read as the text would be."""
        tokenizer = model.tokenizer
        if self.prompt is not None:
            ids: TokenIds = tokenizer.encode(self.prompt)
            if self.add_special_tokens is not False and model.framed:
                ids = model.context.make(ids)
            return [int(token) for token in ids]
        said = [message.turn() for message in self.messages or ()]
        ids = conversation_ids(tokenizer, [Turn(each.text, mark=each.role) for each in said])
        before = [tokenizer.end_id] if self.add_special_tokens else []
        return before + [int(token) for token in (ids if self.add_generation_prompt else ids[:-1])]


class DetokenizeBody(Options):
    """Body of ``POST /v1/detokenize``."""

    model: str = Field(min_length=1, max_length=300)
    tokens: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...]

    def check_limits(self, *, max_characters: int) -> None:
        """Refuse what is too long for one request; raise InvalidOption."""
        _check_size(len(self.tokens), "ids", max_characters, "tokens")

    def decode(self, tokenizer: Tokenizer) -> str:
        """The text; special tokens have none. InvalidOption for an id that there is not."""
        try:
            return tokenizer.decode(self.tokens)
        except InvalidInput as error:
            raise InvalidOption(error.message, code=error.code, param="tokens") from None


def _check_size(size: int, what: str, most: int, param: str) -> None:
    if size > most:
        raise InvalidOption(
            f"{param!r} has {size:,} {what}; the limit for one request is {most:,}. Send it in "
            "parts.",
            code="prompt_too_long",
            param=param,
        )
