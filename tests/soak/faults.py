"""What is done to a stack under load, and when: what fails then is no fault of the service."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from dataclasses import dataclass

import httpx
import psutil

from tests.chaos.rig import Rig
from tests.vitals import PARTS

KILLED = {
    "training child": ("worker.training.child",),
    "training worker": PARTS["trainer"],
    "Redis": PARTS["redis"],
    "engine": PARTS["engine"],
    "generation worker": PARTS["generator"],
    "web process": PARTS["web"],
}
LEAST_PAUSE = 20.0  # seconds between two faults
GRACE = 3.0  # seconds after the service answers again, for what was on its way
RECOVERY_SECONDS = 180.0


@dataclass(slots=True)
class Disturbance:
    """From a fault to the end of what it excuses; ``inf`` while it lasts."""

    began: float
    ended: float = float("inf")


class Faults:
    """Kills each part of a rig's stack once in each quarter of a load, always in the same order.

    So a part is as old at a time of one quarter as at that of another, and its memory in two
    quarters can be compared.
    """

    def __init__(self, rig: Rig, seconds: float) -> None:
        self.recoveries: dict[str, list[float]] = defaultdict(
            list
        )  # seconds until completions come
        self.standstills = 0
        self.faults: list[str] = []
        self._rig = rig
        self._disturbances: list[Disturbance] = []
        self._pause = max(seconds / 4 / len(KILLED), LEAST_PAUSE)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(RECOVERY_SECONDS + 60)
        assert not self._thread.is_alive()

    def note_standstill(self, since: float) -> None:
        """This machine, or we, stood still between then and now."""
        if self._rig.still.take():
            self.standstills += 1
            self._disturbances.append(Disturbance(since, time.perf_counter() + GRACE))

    def excuse(self, began: float, ended: float) -> bool:
        """Whether a fault was under way at some time between the two."""
        return any(each.began <= ended and began <= each.ended for each in self._disturbances)

    def _run(self) -> None:
        while True:
            for name, words in KILLED.items():
                if self._over.wait(self._pause / 2):
                    return
                try:
                    self._kill(name, words)
                except AssertionError as error:
                    self.faults.append(f"after kill -9 of {name}: {error}")
                if self._over.wait(self._pause / 2):
                    return

    def _kill(self, name: str, words: tuple[str, ...]) -> None:
        disturbance = Disturbance(time.perf_counter())
        self._disturbances.append(disturbance)
        victims = self._rig.stack.processes(*words)
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        self._until_it_answers()
        if victims:  # there may have been no training at that moment
            self.recoveries[name].append(time.perf_counter() - disturbance.began)
        disturbance.ended = time.perf_counter() + GRACE

    def _until_it_answers(self) -> None:
        body = {"model": self._rig.model, "prompt": "The ", "max_tokens": 2}
        deadline = time.monotonic() + RECOVERY_SECONDS
        with self._rig.stack.http() as http:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if http.post("/v1/completions", json=body).status_code == 200:
                        return
                assert time.monotonic() < deadline, f"no answer within {RECOVERY_SECONDS} s"
                time.sleep(0.1)
