"""The requests that write: a row each, and the step that draws a token for all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from textgen.engine.reading import Ready
from textgen.engine.requests import Answer, Delta
from textgen.engine.rows import Rows
from textgen.engine.sampling import RowSampler
from textgen.engine.scorer import Scorer
from textgen.engine.state_keeper import StateKeeper
from textgen.engine.textless import chosen_from, classified
from textgen.options import SamplingOptions
from textgen.tokenizers import Tokenizer


class Running:
    """Answers by row; the rows in use are always the first ones.

    ``banned`` tokens are never drawn, ``labels`` are those of a classifier. With
    ``ends_in_gaps_only`` an end is written in the gap before a suffix alone.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        rows: Rows,
        sampler: RowSampler,
        scorer: Scorer,
        states: StateKeeper,
        *,
        banned: Tensor,
        labels: Tensor,
        ends_in_gaps_only: bool,
    ) -> None:
        self._tokenizer = tokenizer
        self._rows = rows
        self._sampler = sampler
        self._scorer = scorer
        self._states = states
        self._banned = banned
        self._labels = labels
        self._ends_in_gaps_only = ends_in_gaps_only
        self._answers: list[Answer] = []

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, ready: Ready) -> None:
        """Give a request whose prompt is read the next row."""
        row = len(self._answers)
        self._answers.append(ready.answer)
        self._rows.set(row, ready.state, ready.token)
        self._begin_drawing(row)

    def remove(self, request_id: str) -> Answer:
        """Take a request out, which must be here."""
        return self._retire([each.request.id for each in self._answers].index(request_id))

    def draw(self) -> tuple[list[Delta], list[Answer]]:
        """One token for every row; what came of it, and the answers that ended."""
        logits = self._rows.step(len(self._answers))
        self._scorer.look(self._answers, logits)
        textless = classified(self._answers, logits, self._labels)
        self._forbid(logits)
        textless |= chosen_from(self._answers, logits, self._tokenizer)
        drawn = self._sampler.draw(logits)
        fed = {
            row: each.echoed.next
            for row, each in enumerate(self._answers)
            if each.echoed is not None
        }
        for row, token in fed.items():
            drawn[row] = token
        tokens = drawn.clamp(min=0)  # where a text ends for want of tokens, any will do
        self._rows.state.tokens[: len(tokens)] = tokens
        logprobs = self._scorer.read(tokens)
        deltas, ended = [], []
        for row, (answer, token) in enumerate(zip(self._answers, drawn.tolist(), strict=True)):
            if row in textless:
                delta: Delta | None = textless[row]
            else:
                delta = answer.take(token, logprobs.get(row))
            if delta is not None and delta.finish_reason is not None:
                ended.append(row)
            if answer.request.return_state:
                if row in textless:
                    delta = self._states.close(answer, textless[row])
                else:
                    delta = self._states.follow(row, answer, token, delta)
            if delta is not None:
                deltas.append(delta)
        for row in fed:
            if self._answers[row].echoed is None:
                self._begin_drawing(row)
        return deltas, [self._retire(row) for row in reversed(ended)]

    def _forbid(self, logits: Tensor) -> None:
        """Take out of the logits (R, V) what no option may bring."""
        logits.index_fill_(1, self._banned, -torch.inf)
        if self._ends_in_gaps_only:
            endless = [row for row, each in enumerate(self._answers) if each.request.suffix is None]
            logits[endless, self._tokenizer.end_id] = -torch.inf

    def _begin_drawing(self, row: int) -> None:
        """Let a row draw by its options, or by none while its prompt is fed."""
        answer = self._answers[row]
        request = answer.request
        options = request.options if answer.echoed is None else SamplingOptions()
        self._sampler.set(row, options, request.seed, request.choice, request.prompt)

    def _retire(self, row: int) -> Answer:
        """Free a row; the last one takes its place."""
        retired, last = self._answers[row], self._answers.pop()
        if row < len(self._answers):
            self._answers[row] = last
            self._rows.move(len(self._answers), row)
            self._sampler.move(len(self._answers), row)
        return retired
