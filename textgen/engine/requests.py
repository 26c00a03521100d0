"""What the engine is asked, what it answers, and how one answer's text grows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from textgen.engine.echo import EchoedPrompt
from textgen.engine.logprobs import Scored, TokenLogprob
from textgen.engine.pending import pending_tokens, primed
from textgen.engine.stopping import StopMatcher
from textgen.engine.text_state import TextState
from textgen.options import SamplingOptions, Task
from textgen.tokenizers import Tokenizer

FinishReason = Literal["stop", "length"]
NOTHING_LEFT = -1  # drawn where the options leave no token


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """One choice for one prompt.

    ``prompt`` is token ids, of any integer type. The text depends on the model, ``prompt``,
    ``options``, ``seed`` and ``choice`` alone; ``seed`` rules, ``options.seed`` is not looked at.
    With ``suffix`` the text is what stands between ``prompt`` and those ids.
    To ``reply``, ``prompt`` is what `textgen.engine.context.conversation_ids` makes of the turns.
    To ``classify`` or ``embed`` nothing is written: the answer is the chance of each label of the
    model for the text ``prompt``, or its vector, whatever ``options`` and ``seed``.
    With ``logprobs`` every drawn token is told with its log-probability and so many of the
    likeliest; with ``echo`` those of the prompt too. With ``ranked`` the last delta has their mean.
    With ``start`` the text goes on from there: ``prompt``, which may be empty, is what follows it;
    to ``reply`` it is the turns that follow, and the text before is a turn that has ended.
    With ``return_state`` the last delta has the state at the text's end, also where no tokens are
    drawn. To ``choose`` from ``alternatives`` nothing is written: the answer is so many of the
    likeliest next tokens.
    Of a ``gathered`` one only the first text and the last come by themselves; what lies between is
    told by `Engine.tell`.
    The text ends before a word that is ``blocked``, also before ``options.min_tokens``.
    ``interactive`` requests come before others and have slots that no other may take; those of
    several tenants take turns.
    """

    id: str
    prompt: npt.NDArray[np.integer[Any]]
    options: SamplingOptions
    seed: int
    choice: int = 0
    echo: bool = False
    interactive: bool = True
    suffix: npt.NDArray[np.integer[Any]] | None = None
    task: Task = "write"
    tenant: str = ""
    logprobs: int | None = None
    ranked: bool = False
    start: TextState | None = None
    return_state: bool = False
    alternatives: int = 0
    gathered: bool = False
    blocked: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether the log-probabilities of its tokens are needed."""
        return self.logprobs is not None or self.ranked

    @property
    def writes(self) -> bool:
        """Whether tokens are drawn."""
        return self.task in ("write", "reply")

    @property
    def ends_at_once(self) -> bool:
        """Whether nothing has to be drawn."""
        return self.writes and self.options.max_tokens == 0


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that may come next, its text for people, and the model's probability of it."""

    token: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of one request; joined, the texts are the completion, after the echoed prompt.

    ``text`` never ends within a character and never holds a part of a stop string or of the blocked
    word that ends it. ``tokens`` were drawn since the request's last delta; the end token and those
    of what ends the text count too. "stop" is the document's end, a stop string or a blocked word,
    "length" is ``max_tokens``. Of a request to classify there is one delta, with the ``chances`` of
    the labels in the order of the bundle's, of one to embed the ``vector`` (L·H,) of length 1, of
    one to choose the ``alternatives``, the likeliest first. ``logprobs`` are of the tokens since
    the last delta, also those that show no text or belong to a stop string, but not those of the
    blocked word. Of the text so many characters are ``echoed``: the prompt's, not written.
    """

    id: str
    text: str
    tokens: int
    finish_reason: FinishReason | None
    prompt_tokens: int
    chances: tuple[float, ...] | None = None
    vector: npt.NDArray[np.float32] | None = field(default=None, compare=False)
    logprobs: tuple[TokenLogprob, ...] = ()
    mean_logprob: float | None = None
    state: TextState | None = None
    alternatives: tuple[Alternative, ...] = ()
    echoed: int = 0


class Answer:
    """The text of one request, token by token."""

    __slots__ = (
        "_asks", "_decoder", "_end", "_length", "_logprobs", "_matcher", "_may_hold", "_remaining",
        "_shown", "_sum", "_told", "_unreported", "arrived", "echoed", "held", "pending",
        "prompt_tokens", "request",
    )  # fmt: skip

    def __init__(self, request: Request, tokenizer: Tokenizer) -> None:
        stop, blocked = request.options.stop, request.blocked
        self.arrived = time.perf_counter()
        self.request = request
        self.prompt_tokens = len(request.prompt)
        if request.suffix is not None:
            self.prompt_tokens += len(request.suffix)
        self._end = tokenizer.end_id
        before = () if request.start is None else request.start.pending
        # Of what is read the last tokens, where they make no whole character yet.
        self.pending = pending_tokens(tokenizer, before, request.prompt)
        self._decoder = primed(tokenizer, self.pending)
        shown = request.options.include_stop_str_in_output
        self._matcher = StopMatcher(stop, blocked, shown=shown) if stop or blocked else None
        self._remaining = request.options.max_tokens
        self._unreported = 0
        self._told = False  # whether some text was
        self.held: list[int] = []  # tokens that were drawn and not looked at yet
        asks = request.scored or request.return_state or not request.writes
        self._asks = asks  # for more of a step than a token
        self._may_hold = request.gathered and self._matcher is None and not asks
        self.echoed: EchoedPrompt | None = None  # while it is fed
        self._logprobs: list[TokenLogprob] = []  # that were not told yet
        self._length = 0  # of the text, in characters
        self._shown = 0  # characters that were told
        self._sum = 0.0  # of the drawn tokens' log-probabilities

    @property
    def plain(self) -> bool:
        """Whether a step has to do nothing for it but draw."""
        return not self._asks and self.echoed is None

    @property
    def holds(self) -> bool:
        """Whether tokens that end nothing may be put into ``held``, ``left`` - 1 of them."""
        return self._told and self._may_hold and self.echoed is None

    @property
    def left(self) -> int:
        """Tokens that may yet be drawn."""
        return self._remaining - len(self.held)

    @property
    def cut(self) -> bool:
        """Whether a stop string or a blocked word has ended the text."""
        return self._matcher is not None and self._matcher.stopped

    def tell(self) -> Delta | None:
        """The text of the tokens that are held; None where they show none."""
        text = self._decode_held()
        return self._delta(text, None) if text else None

    def _decode_held(self) -> str:
        text = self._decoder.push_all(self.held)
        self._remaining -= len(self.held)
        self._unreported += len(self.held)
        self._length += len(text)
        self.held.clear()
        return text

    def take(self, token: int, scored: Scored | None = None) -> Delta | None:
        """Add a drawn token; None where it shows no text and is not the last.

        While a prompt is echoed token by token it is the next of the prompt's.
        NOTHING_LEFT in the place of a token ends the text.
        """
        if self.echoed is not None:
            return self._read(self.echoed, scored)
        before = self._decode_held() if self.held else ""
        if token == NOTHING_LEFT:
            return self._finish(before, "stop")
        options = self.request.options
        self._remaining -= 1
        self._unreported += 1
        ends = self.ends_by(token)
        hidden = ends and not options.include_stop_str_in_output
        text = "" if hidden else self._decoder.push(token)
        if scored is not None:
            self._note(scored)
            self._sum += 0.0 if scored.logprob is None else scored.logprob
        self._length += len(text)
        text = before + text
        if self._matcher is not None:
            long_enough = options.max_tokens - self._remaining > options.min_tokens
            text = self._matcher.push(text, stops=long_enough)
            if self._matcher.stopped:
                return self._stop(self._matcher, text)
        if ends or self._remaining == 0:
            return self._finish(text, "stop" if ends else "length")
        return self._delta(text, None) if text else None

    def ends_by(self, token: int) -> bool:
        """Whether the text ends when this token is drawn."""
        options = self.request.options
        return token in options.stop_token_ids or (token == self._end and not options.ignore_eos)

    def end_at_once(self, text: str) -> Delta:
        """The only delta of a request that wants no tokens; ``text`` is the prompt's."""
        return self._delta(text, "length", echoed=len(text))

    def classified(self, chances: tuple[float, ...]) -> Delta:
        """The only delta of a request to classify."""
        return Delta(self.request.id, "", 0, "stop", self.prompt_tokens, chances=chances)

    def embedded(self, vector: npt.NDArray[np.float32]) -> Delta:
        """The only delta of a request to embed."""
        return Delta(self.request.id, "", 0, "stop", self.prompt_tokens, vector=vector)

    def chosen_from(self, alternatives: tuple[Alternative, ...]) -> Delta:
        """The only delta of a request to choose."""
        return Delta(self.request.id, "", 0, "stop", self.prompt_tokens, alternatives=alternatives)

    def echo(self, text: str) -> Delta:
        """The prompt's text, ahead of the completion."""
        self._length = len(text)
        return self._delta(text, None, echoed=len(text))

    def _finish(self, text: str, reason: FinishReason) -> Delta:
        """Give out what decoder and matcher hold back; a stop string may become complete."""
        rest = self._decoder.finish()
        if self._matcher is not None:
            text += self._matcher.push(rest)
            if self._matcher.stopped:
                return self._stop(self._matcher, text)
            rest = self._matcher.finish()
        return self._delta(text + rest, reason)

    def _stop(self, matcher: StopMatcher, text: str) -> Delta:
        """The last delta, ``text`` what may be shown; the tokens of a blocked word are not told."""
        if matcher.met_blocked and self._logprobs:
            ends = [*(each.offset for each in self._logprobs[1:]), self._length]
            shown = self._shown + len(text)
            told = zip(self._logprobs, ends, strict=True)
            self._logprobs = [each for each, end in told if end <= shown]
        return self._delta(text, "stop")

    def _read(self, echoed: EchoedPrompt, scored: Scored | None) -> Delta | None:
        if scored is not None and echoed.within:
            self._note(scored.as_first() if echoed.at_first else scored)
        text = echoed.feed()
        self._length += len(text)
        if echoed.done:
            self.echoed = None
            if self._remaining == 0:
                return self._delta(text, "length", echoed=len(text))
        return self._delta(text, None, echoed=len(text)) if text else None

    def _note(self, scored: Scored) -> None:
        if self.request.logprobs is not None:
            self._logprobs.append(scored.at(self._length))

    def _delta(self, text: str, reason: FinishReason | None, echoed: int = 0) -> Delta:
        tokens, self._unreported = self._unreported, 0
        self._told = self._told or bool(text)
        self._shown += len(text)
        logprobs, self._logprobs = tuple(self._logprobs), []
        mean = None
        if self.request.ranked and reason is not None:
            mean = self._sum / max(self.request.options.max_tokens - self._remaining, 1)
        return Delta(
            self.request.id, text, tokens, reason, self.prompt_tokens,
            logprobs=logprobs, mean_logprob=mean, echoed=echoed,
        )  # fmt: skip
