"""Continuous batching: many requests share each step of the model.

Every step admits what there is room for, reads one chunk of the prompts that are being read, and
draws one token for each running request. A request's text does not depend on what runs beside it,
on when it was admitted, or on the process: a kernel gives a row the same bits whatever the number
of rows (`textgen.engine.kernels`), and randomness is a function of (seed, choice, position).
"""

from __future__ import annotations

import time
from collections import Counter

import torch

from textgen.bundles.bundle import Bundle
from textgen.engine.context import ContextMaker, label_ids
from textgen.engine.embedding import TextsToEmbed
from textgen.engine.figures import EngineFigures
from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.choice import check_int8, choose_kernel
from textgen.engine.kernels.kernel import KernelName, Weights
from textgen.engine.prefix_cache import PrefixCache
from textgen.engine.reading import Prompts, Ready
from textgen.engine.requests import Answer, Delta, Request
from textgen.engine.running import Running
from textgen.engine.sampling import RowSampler
from textgen.engine.scorer import Scorer
from textgen.engine.state_keeper import StateKeeper
from textgen.engine.states import state_values
from textgen.engine.time_share import TimeShare
from textgen.engine.vocabulary import Vocabulary
from textgen.engine.waiting import WaitingRoom, check_sizes
from textgen.errors import InvalidInput
from textgen.numerics import describe_generation
from textgen.options import Auto
from textgen.tokenizers import Tokenizer

__all__ = ["Delta", "Engine", "Request"]

BURST_SECONDS = 0.001  # that a step may go on drawing where others may come in at any time
PREFIX_CACHE_BYTES = 64 * 2**20


class Engine:
    """Generates for up to ``slots`` requests at once on one model.

    Drive it with ``while engine.busy: deltas = engine.step()``. Not safe for threads: one thread
    makes all calls. The number of torch threads must stay what it was at the start. Requests with
    ``interactive=False`` use at most ``slots - interactive_reserve`` slots (the reserve is a
    quarter by default); up to ``queue`` requests of either kind wait. States of what was read are
    kept for prompts that begin alike, up to ``prefix_cache_bytes``; no text depends on it.

    ``kernel`` and ``weights`` say how to compute; the text may differ between two kernels, rarely,
    and between weights. ``numerics`` names all that it depends on beside model and request.
    ``threads`` are the native kernel's, by default torch's number; they change no text.
    int8 weights are two to four times faster; InvalidOption where they cost more than 0.01 nats.
    ``figures`` is where it notes waits, tokens and steps, one of its own by default.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        slots: int = 128,
        interactive_reserve: int | None = None,
        queue: int = 1024,
        prefix_cache_bytes: int = PREFIX_CACHE_BYTES,
        kernel: KernelName | Auto = "auto",
        weights: Weights = "float32",
        threads: int | None = None,
        figures: EngineFigures | None = None,
    ) -> None:
        self.figures = EngineFigures() if figures is None else figures
        self._drawn_at: float | None = None  # when those that write had their last tokens
        reserve = slots // 4 if interactive_reserve is None else interactive_reserve
        check_sizes(slots, reserve, queue)
        self.tokenizer: Tokenizer = bundle.tokenizer
        documents = bundle.header.documents
        fills_gaps = "infill" in bundle.header.objectives
        labels = label_ids(self.tokenizer, bundle.header.labels)
        banned = set(self.tokenizer.generation_banned(documents=documents or fills_gaps))
        # Labels are found, not written; all are among what a log-probability is a part of.
        model = FoldedModel(bundle.model)
        self._device, self._width = model.device, model.hidden
        self._state_shape = (2, model.layers, bundle.header.model.hidden_size)
        if weights == "int8":
            check_int8(bundle.model, bundle.header.metrics)
        chosen = choose_kernel(model, kernel, weights, threads)
        self.numerics = describe_generation(model.device, chosen.name)
        self._context = ContextMaker(
            self.tokenizer,
            documents=documents,
            objectives=bundle.header.objectives,
            rows=bundle.header.rows,
            labels=bundle.header.labels,
        )
        self._slots = slots
        self._batch_slots = slots - reserve
        rows = chosen.rows(slots)
        reader = chosen.reader()
        self._prompts = Prompts(reader, PrefixCache(prefix_cache_bytes))
        self._states = StateKeeper(
            self.tokenizer, rows, self._prompts, self._state_shape, self.numerics
        )
        self._to_embed = TextsToEmbed(reader, bundle.header.model.hidden_size)
        vocabulary = Vocabulary.of(self.tokenizer)
        parking = range(slots, slots + max(1, slots // 4))
        self._sampler = RowSampler(
            parking.stop,
            vocabulary,
            columns=model.columns,
            device=model.device,
            copies=bundle.copies,
        )
        self._scorer = Scorer(vocabulary)
        self._waiting = WaitingRoom(queue)
        self._ids: set[str] = set()  # of all requests that have not ended
        self._time = TimeShare()
        self._running = Running(
            self.tokenizer,
            rows,
            self._sampler,
            self._scorer,
            self._states,
            banned=torch.tensor(sorted(banned), dtype=torch.int64, device=model.device),
            labels=torch.tensor(labels, dtype=torch.int64, device=model.device),
            # A model of one text has learnt ends in gaps alone; elsewhere it is to write none.
            ends_in_gaps_only=fills_gaps and not documents,
            parking=parking,
        )
        self._held: Counter[str] = Counter()  # slots by tenant
        self._batch_running = 0  # requests with a slot that are not interactive

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._ids)

    @property
    def free_slots(self) -> int:
        """Slots that no request holds."""
        return self._slots - len(self._prompts) - len(self._to_embed) - len(self._running)

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return len(self._waiting)

    def submit(self, request: Request) -> None:
        """Queue a request. EngineFull, or InvalidInput for bad ids or an id that is in use.

        InvalidOption where the model has not learnt the task: ``not_a_classifier``,
        ``not_a_chat_model``; ``state_of_another_model`` or ``state_of_other_numerics`` for one that
        starts from such a state.
        """
        if request.id in self._ids:
            raise InvalidInput(f"A request with the id {request.id!r} is under way.")
        self._context.check(request)
        self._sampler.check(request.options)
        if request.start is not None:
            vocab_size = self.tokenizer.vocab_size
            request.start.check(self._state_shape, vocab_size, self.numerics)
        self._waiting.add(Answer(request, self.tokenizer))
        self._ids.add(request.id)

    def cancel(self, request_id: str) -> None:
        """End a request without a further delta; its slot is free at once. Unknown ids pass."""
        self._time.drop(request_id)
        if request_id not in self._ids:
            return
        self._ids.remove(request_id)
        if self._waiting.remove(request_id):
            return
        self._states.forget(request_id)
        if self._running.forget(request_id):
            return
        answer = self._prompts.remove(request_id) or self._to_embed.remove(request_id)
        if answer is not None:
            self._give_back(answer)
            return
        self._give_back(self._running.remove(request_id))

    def tell(self, request_id: str) -> Delta | None:
        """The text of a ``gathered`` request that was not told yet; None where there is none."""
        return self._running.tell(request_id)

    @torch.inference_mode()
    def step(self, seconds: float = 0.0) -> list[Delta]:
        """Admit, read one chunk of prompts and of other texts, draw one token a running request.

        Where nothing else is to be done it goes on drawing for about so many ``seconds``, up to the
        end of a text, as long as all are ``gathered`` ones that ask for a temperature alone.
        """
        began = time.perf_counter()
        deltas = self._admit()
        if self._prompts:
            deltas += self._read()
        if self._to_embed:
            deltas += self._embed()
        texts = len(self._running)
        if texts:
            deltas += self._draw(0.0 if self._prompts or self._to_embed else seconds)
        ended = time.perf_counter()
        if texts:
            self._note_draw(texts, ended, began if self._drawn_at is None else self._drawn_at)
        self._drawn_at = ended if self._running else None
        self._time.advance(ended - began)
        return deltas

    def _note_draw(self, texts: int, now: float, before: float) -> None:
        steps, new = self._running.last_steps, self._running.last_new
        self.figures.drew(texts, new, steps, now - before)

    def take_seconds(self, request_id: str) -> float:
        """A request's share of the time of all steps since this was last asked for it.

        A step's time is shared evenly among the requests that hold a slot in it. Until it is asked
        for, the share of a request that has ended is kept; that of a cancelled one is not.
        """
        return self._time.take(request_id)

    def _admit(self) -> list[Delta]:
        """Give slots to waiting requests; requests for no tokens end here, without one."""
        deltas = []
        while (answer := self._next()) is not None:
            request = answer.request
            if request.echo and request.logprobs is not None and len(request.prompt):
                deltas += self._echo(answer)
                continue
            echoed = self.tokenizer.decode(request.prompt) if request.echo else ""
            if request.ends_at_once and not request.return_state:
                self._ids.remove(request.id)
                deltas.append(answer.end_at_once(echoed))
                continue
            if echoed:
                deltas.append(answer.echo(echoed))
            self._enter(answer)
            context = self._context.of(request)
            if request.task == "embed":
                self._to_embed.add(answer, context)
            elif request.start is None:
                self._prompts.add(answer, context)
            else:
                values = state_values(request.start, self._width, self._device)
                self._prompts.add(answer, context, values, request.start.key)
        return deltas

    def _next(self) -> Answer | None:
        """The waiting request that gets a slot now; before it, parked texts whose turn it is.

        Who has no slot goes first: where none is free, a text of the tenant with the most is parked
        for it. Then those that are parked go on, and then the others have their turns.
        """
        turn = self._waiting.turn
        first = turn is not None and not self._held[turn]
        if first and not self.free_slots:
            self._park()
        while self.free_slots and (parked := self._running.parked) is not None:
            if first and self._held[parked]:
                break
            self._take_slot(self._running.resume())
        if not self.free_slots:
            return None
        return self._waiting.next(batch=self._batch_running < self._batch_slots)

    def _park(self) -> None:
        answer = self._running.park()
        if answer is not None:
            self._time.leave(answer.request.id)
            self._give_back(answer)

    def _echo(self, answer: Answer) -> list[Delta]:
        """Begin to feed a prompt whose tokens are to be told with their log-probabilities."""
        request = answer.request
        answer.echoed = self._context.echoed(request)
        token = answer.echoed.next
        delta = answer.take(token, self._scorer.first(token))
        if delta is not None and delta.finish_reason is not None:
            self._ids.remove(request.id)
            return [delta]
        self._enter(answer)
        self._running.add(Ready(answer, None, token, length=1))
        return [] if delta is None else [delta]

    def _read(self) -> list[Delta]:
        """One chunk of the prompts; whose prompt is read gets a row, or ends here."""
        deltas = []
        for ready in self._prompts.read():
            delta = self._states.ready(ready)
            if delta is None and ready.answer.request.ends_at_once:
                delta = self._states.close(ready.answer, ready.answer.end_at_once(""))
            if delta is None:
                self._running.add(ready)
            else:
                self._end(ready.answer)
                deltas.append(delta)
        return deltas

    def _embed(self) -> list[Delta]:
        """One chunk of the texts to embed; those that are read end here, without a row."""
        deltas = []
        for answer, vector in self._to_embed.read():
            self._end(answer)
            deltas.append(answer.embedded(vector))
        return deltas

    def _draw(self, seconds: float) -> list[Delta]:
        """One token for every row, or several."""
        deltas, ended = self._running.draw(seconds)
        for answer in ended:
            if not self._states.waits(answer.request.id):
                self._end(answer)
        return deltas

    def _enter(self, answer: Answer) -> None:
        waited = time.perf_counter() - answer.arrived
        self.figures.waited(waited, interactive=answer.request.interactive)
        self._take_slot(answer)

    def _take_slot(self, answer: Answer) -> None:
        self._held[answer.request.tenant] += 1
        self._batch_running += not answer.request.interactive
        self._time.enter(answer.request.id)

    def _end(self, answer: Answer) -> None:
        self._ids.remove(answer.request.id)
        self._time.leave(answer.request.id)
        self._give_back(answer)

    def _give_back(self, answer: Answer) -> None:
        tenant = answer.request.tenant
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        self._batch_running -= not answer.request.interactive
