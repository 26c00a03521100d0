"""A mixed load on a stack: answers, plain and streamed, given up or not, trainings and batches."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

import openai

from tests.chaos.rig import Rig
from tests.load_client import Call, Caller, make_body
from tests.soak.faults import Faults

CALLERS = 4  # of each kind
BATCHES = 4  # beside each training
BATCH_LINES = 300
SETTLE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, and within which time."""

    began: float
    ended: float
    what: str


class Load:
    """Everything that goes on, until it is told to stop; whatever goes wrong is kept."""

    def __init__(self, rig: Rig, faults: Faults) -> None:
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []  # what no fault excuses
        self.failures: list[Failure] = []
        self.first_texts: list[float] = []
        self._rig = rig
        self._faults = faults
        self._model = rig.model
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(what,), daemon=True)
            for what in (self._calls, self._jobs)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(SETTLE_SECONDS + 60)
            assert not thread.is_alive()

    def unexcused(self, until: float = float("inf")) -> list[str]:
        """What went wrong, before that time, and was of no fault's making."""
        excuse = self._faults.excuse
        return self.wrong + [
            each.what
            for each in self.failures.copy()
            if each.ended < until and not excuse(each.began, each.ended)
        ]

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # told at the end; the other loads go on
            self.wrong.append(f"{what.__name__}: {error!r}")

    def _calls(self) -> None:
        asyncio.run(self._all_calls())

    async def _all_calls(self) -> None:
        kinds = (self._plain, self._streamed, self._aborted)
        await asyncio.gather(*(kind(i) for kind in kinds for i in range(CALLERS)))

    async def _plain(self, seed: int) -> None:
        await self._complete("plain", seed, stream=False)

    async def _streamed(self, seed: int) -> None:
        await self._complete("streamed", seed, stream=True)

    async def _complete(self, name: str, seed: int, *, stream: bool) -> None:
        source = random.Random(f"{name} {seed}")
        caller = Caller(self._rig.stack.port, self._rig.stack.key)
        while not self._stop.is_set():
            tokens = source.randint(10, 400)
            body = make_body(self._model, tokens, stream=stream, seed=source.getrandbits(20))
            self._note(name, await caller.complete(body), tokens)
            await asyncio.sleep(source.expovariate(10))
        caller.close()

    def _note(self, name: str, call: Call, tokens: int) -> None:
        if call.status != 200 or call.error:
            what = f"{name}: {call.status} {call.error}"
            self.failures.append(Failure(call.began, call.ended, what))
            return
        self.done[name] += 1
        if call.tokens != tokens:  # and nobody was told
            self.wrong.append(f"{name}: {call.tokens} of {tokens} tokens")
        elif name == "streamed" and not self._faults.excuse(call.began, call.ended):
            self.first_texts.append(call.first_text)

    async def _aborted(self, seed: int) -> None:
        source = random.Random(f"aborted {seed}")
        while not self._stop.is_set():
            caller = Caller(self._rig.stack.port, self._rig.stack.key)
            body = make_body(self._model, 1_000_000, stream=source.random() < 0.5, seed=1)
            await caller.abandon(
                body, after_events=source.randint(1, 5), seconds=source.uniform(0.01, 0.5)
            )
            self.done["aborted"] += 1
            await asyncio.sleep(0.02)  # where nobody listens, that was quick

    def _jobs(self) -> None:
        """A training beside some batches; each must end once, with what it has in peace."""
        rig = self._rig
        while not self._stop.is_set():
            training = rig.train()
            batches = [rig.batch(BATCH_LINES) for _ in range(BATCHES)]
            verdict = rig.ledger.settle(SETTLE_SECONDS)
            self.wrong += [
                f"{kind}: {each}" for kind, found in asdict(verdict).items() for each in found
            ]
            self.done["trainings"] += 1
            self.done["batches"] += len(batches)
            self.done["claims of a training"] += len(rig.ledger.claims_after(training, 0))
            self._clear_away(training, batches)

    def _clear_away(self, training: str, batches: list[str]) -> None:
        """Use the model once, so that it is loaded and has to leave; then delete what was made."""
        rig, began = self._rig, time.perf_counter()
        model = rig.ledger.row(training).result["fine_tuned_model"]
        outputs = [rig.ledger.row(each).result["output_file_id"] for each in batches]
        try:
            rig.client.completions.create(model=model, prompt="Some", max_tokens=5)
            _delete(rig.client.models.delete, model)
            for each in outputs:
                _delete(rig.client.files.delete, each)
        except openai.OpenAIError as error:
            self.failures.append(Failure(began, time.perf_counter(), f"jobs: {error!r}"))


def _delete(delete: Callable[[str], object], name: str) -> None:
    """Deleted is deleted: the answer to the first try may be lost with the web process."""
    with contextlib.suppress(openai.NotFoundError):
        delete(name)
