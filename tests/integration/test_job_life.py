"""Any sequence of what clients, workers and reconcilers do, against a model in plain Python.

The model knows the rules and no SQL. After every step the rows must say what the model says, the
events must be without gaps, and old claims must be unable to write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.integration.conftest import events_are_whole
from worker.errors import Conflict, LeaseLost
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.jobs.states import FINAL
from worker.jobs.tables import jobs as table
from worker.settings import Settings
from worker.storage.database import Database


@dataclass
class Model:
    """What a job should be."""

    state: str = "queued"
    token: int = 0
    attempts: int = 0
    losses: int = 0
    step: int = 0
    cancel: bool = False
    pause: bool = False
    delayed: bool = False
    kept: list[tuple[str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def let_go(self, *, attempts: int = 0, losses: int = 0) -> None:
        """The worker is gone or gives it back."""
        self.attempts += attempts
        self.losses += losses
        if self.cancel:
            self.end("cancelled")
        elif (losses and self.losses >= 3) or (attempts and self.attempts > 5):
            self.end("failed")
        else:
            self.state = "paused" if self.pause else "queued"
            self.pause = self.cancel = False

    def end(self, state: str) -> None:
        self.state = state
        self.pause = False
        self.ended.append(state)


class JobLife(RuleBasedStateMachine):
    """Three workers, one owner, one reconciler."""

    new_database: Callable[[], str]

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.database = Database(self.new_database())
        self.jobs = Jobs(self.database, Settings())
        self.models: dict[str, Model] = {}

    def teardown(self) -> None:
        self.database.dispose()

    # ---- what the owner does ----

    @rule(priority=st.integers(-1, 1))
    def submit(self, priority: int) -> None:
        job = self.jobs.submit("default", "training", {}, priority=priority)
        self.models[job.id] = Model()

    @rule(data=st.data(), wish=st.sampled_from(["request_cancel", "request_pause", "resume"]))
    def wish(self, data: st.DataObject, wish: str) -> None:
        if not self.models:
            return
        job_id = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[job_id]
        allowed = {
            "request_cancel": model.state not in ("succeeded", "failed"),
            "request_pause": model.state in ("running", "paused"),
            "resume": model.state == "paused" or (model.state == "running" and model.pause),
        }
        if not allowed[wish]:
            with pytest.raises(Conflict):
                getattr(self.jobs, wish)("default", job_id)
            return
        getattr(self.jobs, wish)("default", job_id)
        if wish == "request_cancel" and model.state in ("queued", "paused"):
            model.end("cancelled")
        elif wish == "request_cancel" and model.state == "running":
            model.cancel = True
        elif wish == "request_pause" and model.state == "running":
            model.pause = True
        elif wish == "resume":
            model.state = "queued" if model.state == "paused" else model.state
            model.pause = model.delayed = False

    # ---- what workers do; a claim stays in hand after it was lost ----

    @rule(target=claims, worker=st.sampled_from(["w1", "w2", "w3"]))
    def claim(self, worker: str) -> Job | None:
        ready = {
            job_id
            for job_id, model in self.models.items()
            if model.state == "queued" and not model.delayed
        }
        job = self.jobs.claim("training", worker, "a")
        assert (job is None) == (not ready)
        if job is not None:
            assert job.id in ready
            model = self.models[job.id]
            model.state, model.token = "running", model.token + 1
            assert job.token == model.token
        return job

    def _holds(self, job: Job) -> bool:
        model = self.models[job.id]
        return model.state == "running" and model.token == job.token

    def _write(self, job: Job, write: Callable[[], object]) -> bool:
        """Try a worker's write; True when it had to, and did, succeed."""
        if self._holds(job):
            write()
            return True
        with pytest.raises(LeaseLost):
            write()
        return False

    @rule(job=claims)
    def heartbeat(self, job: Job | None) -> None:
        if job is None:
            return
        model = self.models[job.id]
        if self._holds(job):
            signals = self.jobs.heartbeat(job)
            assert (signals.cancel, signals.pause) == (model.cancel, model.pause)
        else:
            self._write(job, lambda: self.jobs.heartbeat(job))

    @rule(job=claims, forward=st.integers(0, 2))
    def checkpoint(self, job: Job | None, forward: int) -> None:
        if job is None:
            return
        model = self.models[job.id]
        step = model.step + forward
        name = f"{job.token}/{step}"
        if self._write(
            job, lambda: self.jobs.save_checkpoint(job, artifact=name, step=step, metrics={})
        ):
            older = [kept for kept in model.kept if kept != (name, step)]
            if all(step > earlier for _, earlier in older):
                model.losses = 0
            model.step = step
            model.kept = [(name, step), *older][:3]
            kept = self.jobs.get("default", job.id).checkpoint_history
            assert [(each["artifact"], each["step"]) for each in kept] == model.kept

    @rule(job=claims)
    def tell(self, job: Job | None) -> None:
        if job is not None:
            self._write(job, lambda: self.jobs.add_event(job, type="x", message="x"))

    @rule(job=consumes(claims), ending=st.sampled_from(["succeeded", "failed", "cancelled"]))
    def end(self, job: Job | None, ending: str) -> None:
        if job is None:
            return
        ways: dict[str, Callable[[], object]] = {
            "succeeded": lambda: self.jobs.succeed(job, {}),
            "failed": lambda: self.jobs.fail(job, {"code": "x", "message": "x", "param": None}),
            "cancelled": lambda: self.jobs.cancelled(job),
        }
        if self._write(job, ways[ending]):
            self.models[job.id].end(ending)

    @rule(job=claims, counts_as=st.sampled_from([None, "attempt", "loss"]), delay=st.booleans())
    def give_back(self, job: Job | None, counts_as: str | None, delay: bool) -> None:
        if job is None:
            return
        seconds = 1000.0 if delay else 0.0
        if self._write(
            job,
            lambda: self.jobs.requeue(job, "x", delay=seconds, counts_as=counts_as),  # type: ignore[arg-type]
        ):
            model = self.models[job.id]
            model.let_go(attempts=counts_as == "attempt", losses=counts_as == "loss")
            model.delayed = delay

    @rule(job=claims)
    def pause(self, job: Job | None) -> None:
        if job is None:
            return
        if self._write(job, lambda: self.jobs.paused(job)):
            model = self.models[job.id]
            if model.cancel:
                model.end("cancelled")
            else:
                model.state, model.pause = "paused", False

    # ---- what time and the reconciler do ----

    @rule(worker=st.sampled_from(["w1", "w2", "w3"]))
    def lose_worker(self, worker: str) -> None:
        held = {
            job.id
            for job in self.jobs.list("default", states=["running"], limit=100).items
            if job.worker == worker
        }
        with self.database.write() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.state == "running", table.c.worker == worker)
                .values(lease_expires_at=1.0)
            )
        assert self.jobs.needs_recovery() == bool(held)
        assert {job.id for job in self.jobs.recover_expired()} == held
        for job_id in held:
            self.models[job_id].let_go(losses=1)
            self.models[job_id].delayed = False

    @rule(worker=st.sampled_from(["w1", "w2", "w3"]))
    def restart_worker(self, worker: str) -> None:
        held = {
            job.id
            for job in self.jobs.list("default", states=["running"], limit=100).items
            if job.worker == worker
        }
        assert {job.id for job in self.jobs.free_predecessor(worker, "b")} == held
        for job_id in held:
            self.models[job_id].let_go(losses=1)
            self.models[job_id].delayed = False

    @rule()
    def time_passes(self) -> None:
        with self.database.write() as connection:
            connection.execute(sa.update(table).where(table.c.state == "queued").values(due_at=0.0))
        for model in self.models.values():
            model.delayed = False

    # ---- what always holds ----

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        rows = {job.id: job for job in self.jobs.list("default", limit=1000).items}
        assert rows.keys() == self.models.keys()
        for job_id, model in self.models.items():
            job = rows[job_id]
            assert (job.state, job.token, job.attempts, job.losses) == (
                model.state,
                model.token,
                model.attempts,
                model.losses,
            )
            assert (job.finished_at is not None) == (job.state in FINAL)
            assert (job.lease_expires_at is not None) == (job.state == "running")
            assert len(model.ended) == (job.state in FINAL)

    @invariant()
    def events_have_no_gap_and_tell_of_one_end(self) -> None:
        for job_id, model in self.models.items():
            types = events_are_whole(self.jobs, job_id)
            assert [each for each in types if each in FINAL] == model.ended
            assert types.count("running") == model.token


def run_life(new_database: Callable[[], str], examples: int, steps: int) -> None:
    machine = type("Life", (JobLife,), {"new_database": staticmethod(new_database)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_any_life_keeps_the_rules(new_database: Callable[[], str]) -> None:
    on_sqlite = new_database().startswith("sqlite")

    run_life(new_database, examples=40 if on_sqlite else 8, steps=40)


@pytest.mark.chaos
def test_many_lives_keep_the_rules(new_database: Callable[[], str]) -> None:
    on_sqlite = new_database().startswith("sqlite")

    run_life(new_database, examples=600 if on_sqlite else 80, steps=60)
