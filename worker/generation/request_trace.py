"""The span of one request in the engine process, made when it is over: no step knows of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from opentelemetry.context import Context

from worker import tracing
from worker.contracts import GenerateRequest


@dataclass(slots=True)
class RequestTrace:
    """When a request came, and when its first token was there. Times are seconds since 1970."""

    context: Context
    model: str
    choices: int
    arrived: float = field(default_factory=time.time)
    first_token: float | None = None

    @classmethod
    def of(cls, request: GenerateRequest) -> RequestTrace | None:
        """Of a request whose trace this process follows."""
        context = tracing.parent(request.traceparent)
        if context is None:
            return None
        model = "" if request.owner is None else request.owner.model
        return cls(context, model, len(request.prompts) * request.n)

    def begins(self) -> None:
        """A text of it has its first token."""
        if self.first_token is None:
            self.first_token = time.time()

    def end(self, prompt_tokens: int, completion_tokens: int, *, failed: str = "") -> None:
        """It is over: well, or ``failed`` says how."""
        values: tracing.Values = {
            "gen_ai.request.model": self.model,
            "gen_ai.request.choice.count": self.choices,
            "gen_ai.usage.input_tokens": prompt_tokens,
            "gen_ai.usage.output_tokens": completion_tokens,
        }
        events = {} if self.first_token is None else {"first_token": self.first_token}
        tracing.record(
            "engine generate",
            self.context,
            self.arrived,
            time.time(),
            values,
            events,
            failed=failed,
        )
