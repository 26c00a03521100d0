"""The requests that write: a row each, and the step that draws a token for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.engine.logprobs import Scored
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
    ``ends_in_gaps_only`` an end is written in the gap before a suffix alone. ``parking`` are rows
    of the sampler that none draws in: there the options of parked texts are kept.
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
        parking: range = range(0),
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
        self._by_id: dict[str, Answer] = {}  # also of those that are parked
        self._parked: dict[str, _Parked] = {}  # by request id, the one that is longest so first
        self._free_places = list(parking)
        self._draws = sampler.draws
        self._draws.drawable[banned.numpy(force=True)] = False
        self._by_kernel = rows.draw_by(self._draws)
        self._crew: _Crew | None = None  # None: rows have changed
        self._new = 0  # rows that have drawn nothing yet
        self.last_steps = self.last_new = 0  # of the last draw: its steps, rows that were new

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, ready: Ready) -> None:
        """Give a request whose prompt is read the next row."""
        row = len(self._answers)
        self._new += 1
        self._answers.append(ready.answer)
        self._by_id[ready.answer.request.id] = ready.answer
        self._rows.set(row, ready.state, ready.token)
        self._begin_drawing(row)

    def remove(self, request_id: str) -> Answer:
        """Take a request out, which must be here and not parked."""
        return self._retire([each.request.id for each in self._answers].index(request_id))

    @property
    def parked(self) -> str | None:
        """The tenant of the text that is parked longest; None where none is."""
        return next((each.answer.request.tenant for each in self._parked.values()), None)

    def park(self) -> Answer | None:
        """Take the row of a text of the tenant that has most of them; it goes on with `resume`.

        A text that nobody waits for rather than another, the newest rather than an older one.
        None where no tenant has two, or as many are parked as may be. A text is the same whether
        it was parked or not.
        """
        rows = Counter(each.request.tenant for each in self._answers)
        (tenant, most), *_ = rows.most_common(1) or [("", 0)]
        if most < 2 or not self._free_places:
            return None
        own = [row for row, each in enumerate(self._answers) if each.request.tenant == tenant]
        row = max(own, key=lambda row: (not self._answers[row].request.interactive, row))
        place = self._free_places.pop()
        self._sampler.move(row, place)
        state, token = self._rows.get(row), int(self._rows.state.tokens[row])
        answer = self._retire(row)
        self._parked[answer.request.id] = _Parked(answer, state, token, place)
        self._by_id[answer.request.id] = answer
        return answer

    def resume(self) -> Answer:
        """Give the text that is parked longest the next row."""
        parked = self._unpark(next(iter(self._parked)))
        row = len(self._answers)
        self._answers.append(parked.answer)
        self._by_id[parked.answer.request.id] = parked.answer
        self._rows.set(row, parked.state, parked.token)
        self._sampler.move(parked.place, row)
        self._crew = None
        return parked.answer

    def forget(self, request_id: str) -> bool:
        """Drop a parked text; whether it was one."""
        parked = request_id in self._parked
        if parked:
            self._unpark(request_id)
        return parked

    def _unpark(self, request_id: str) -> _Parked:
        parked = self._parked.pop(request_id)
        self._free_places.append(parked.place)
        del self._by_id[request_id]
        return parked

    def tell(self, request_id: str) -> Delta | None:
        """The text of a request that was not told yet; None where there is none."""
        answer = self._by_id.get(request_id)
        return None if answer is None else answer.tell()

    def draw(self, seconds: float = 0.0) -> tuple[list[Delta], list[Answer]]:
        """A token for every row; what came of it, and the answers that ended.

        Where the kernel draws them all and no text has to be looked at, for so many ``seconds``.
        """
        crew = self._crew = self._crew or self._gather()
        self.last_new = min(self._new, len(self._answers))  # some may have been taken out
        self._new, self.last_steps = 0, 1
        if not crew.plain:
            return self._draw_with_options()
        steps = crew.left if crew.all_hold else 1
        drawn = self._rows.burst(len(self._answers), steps, seconds)
        crew.left -= len(drawn)
        self.last_steps = len(drawn)
        *before, last = drawn.tolist()
        for tokens in before:
            crew.put(tokens)
        if crew.all_hold and crew.left and not self._any_stops(drawn[-1]):
            crew.put(last)
            return [], []
        return self._take(last, {}, {})

    def _gather(self) -> _Crew:
        """What the present rows have in common."""
        stops = self._draws.stops
        stops[:] = False
        stops[self._tokenizer.end_id] = True
        for each in self._answers:
            stops[list(each.request.options.stop_token_ids)] = True
        return _Crew(
            plain=bool(self._draws.rows[: len(self._answers)].all())
            and all(each.plain for each in self._answers),
            all_hold=all(each.holds for each in self._answers),
            left=min(each.left for each in self._answers),
            hold=[each.held.append for each in self._answers],
        )

    def _any_stops(self, tokens: npt.NDArray[np.int64]) -> bool:
        return bool(self._draws.stops[tokens].any() or (tokens < 0).any())

    def _draw_with_options(self) -> tuple[list[Delta], list[Answer]]:
        """One token for every row, by torch where its options ask for more than the kernel does."""
        count = len(self._answers)
        by_kernel = self._draws.rows[:count]
        if by_kernel.any():
            positions = self._draws.positions[:count].copy()
            tokens = torch.from_numpy(self._rows.burst(count, 1, 0.0)[0].copy())
            self._draws.positions[:count] = positions
            logits = self._rows.state.logits[:count]
        else:
            logits = self._rows.step(count)
        self._scorer.look(self._answers, logits)
        textless = classified(self._answers, logits, self._labels)
        self._forbid(logits)
        textless |= chosen_from(self._answers, logits, self._tokenizer)
        drawn = self._sampler.draw(logits)
        if by_kernel.any():
            drawn = torch.where(torch.from_numpy(by_kernel), tokens, drawn)
        for row, each in enumerate(self._answers):
            if each.echoed is not None:
                drawn[row] = each.echoed.next
        tokens = drawn.clamp(min=0)  # where a text ends for want of tokens, any will do
        self._rows.state.tokens[:count] = tokens
        return self._take(drawn.tolist(), self._scorer.read(tokens), textless)

    def _take(
        self, drawn: Sequence[int], logprobs: Mapping[int, Scored], textless: Mapping[int, Delta]
    ) -> tuple[list[Delta], list[Answer]]:
        """Give every answer its token; what came of it, and the answers that ended."""
        deltas, ended = [], []
        self._crew = None
        for row, (answer, token) in enumerate(zip(self._answers, drawn, strict=True)):
            fed = answer.echoed is not None
            if row in textless:
                delta: Delta | None = textless[row]
            elif answer.holds and answer.left > 1 and token >= 0 and not answer.ends_by(token):
                answer.held.append(token)
                continue
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
            if fed and answer.echoed is None:
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
        ends_nowhere = self._ends_in_gaps_only and request.suffix is None
        self._draws.rows[row] &= self._by_kernel and not ends_nowhere
        self._crew = None

    def _retire(self, row: int) -> Answer:
        """Free a row; the last one takes its place."""
        retired, last = self._answers[row], self._answers.pop()
        del self._by_id[retired.request.id]
        self._crew = None
        if row < len(self._answers):
            self._answers[row] = last
            self._rows.move(len(self._answers), row)
            self._sampler.move(len(self._answers), row)
        return retired


@dataclass(frozen=True, slots=True)
class _Parked:
    """A text without a row: its state (2, L, H), its next input, where its options are kept."""

    answer: Answer
    state: Tensor
    token: int
    place: int


@dataclass(slots=True)
class _Crew:
    """What the present rows have in common; kept while they stay the same.

    ``plain``: the kernel draws them all, and a step has to do nothing else. ``all_hold``: no text
    has to be looked at for the next ``left`` - 1 tokens that stop nothing, which go into ``hold``.
    """

    plain: bool
    all_hold: bool
    left: int
    hold: list[Callable[[int], None]]

    def put(self, tokens: Sequence[int]) -> None:
        """Give every row its token."""
        for hold, token in zip(self.hold, tokens, strict=True):
            hold(token)
