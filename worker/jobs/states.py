"""The life of a job: its states and every move between them.

                 submit                       resume
                   │            ┌──────────────────────────────┐
                   ▼            ▼                              │
                ┌──────────────────┐  claim   ┌─────────┐    ┌─┴──────┐
                │      queued      ├─────────►│ running ├───►│ paused │
                └─┬───────────┬──▲─┘          └─┬─┬─┬─┬─┘    └───┬────┘
      deadline    │    cancel │  └──────────────┘ │ │ │          │ cancel
                  │           │   lost, drained,  │ │ │          │
                  │           │   retried         │ │ │          │
                  ▼           │                   │ │ │          │
              ┌────────┐      │      error        │ │ │          │
              │ failed │◄─────┼───────────────────┘ │ │          │
              └────────┘      ▼        cancel       │ │          │
                        ┌───────────┐◄──────────────┘ │          │
                        │ cancelled │◄────────────────┼──────────┘
                        └───────────┘                 ▼
                                                ┌───────────┐
                                                │ succeeded │
                                                └───────────┘

queued     waits for a worker, from ``due_at`` on. Nobody holds it.
running    held by one worker: the one whose claim gave the row its present ``token``, until
           ``lease_expires_at``. Only writes that name this token count.
paused     its owner stopped it; what it has made safe is kept; nobody holds it. Not for all
           kinds: see PAUSABLE.
succeeded  the result is in the row, and what it published was published in the same COMMIT.
failed     ``error`` says why: the work's own fault, too many retries, ``poison``, or a deadline.
cancelled  its owner ended it.

The last three are final: the row is never updated again (a trigger in the database holds it).
A retry of a finished job is a new job whose ``retry_of`` names the old one.

queued  → running    a worker claims it: one conditional UPDATE, token + 1, a new lease
queued  → cancelled  its owner asked; at once
queued  → failed     its deadline passed before it was done
running → succeeded  the worker finished
running → failed     the work cannot succeed, or was tried, or lost, too often, or the deadline
running → cancelled  the worker heard the wish, or the worker is lost and the wish stands
running → paused     the worker made a checkpoint and let go, or is lost while the wish stands
running → queued     the lease ran out, the worker drains, or a passing fault is waited out
paused  → queued     its owner resumes it
paused  → cancelled  its owner asked; at once

A wish (``cancel_requested_at``, ``pause_requested_at``) is no state. It ends with the next move;
but a batch that is to be cancelled and has finished shards is queued with the wish, until a worker
has put together what there is.
Whichever COMMIT comes first wins: a job may still succeed after a wish to cancel it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Kind = Literal["training", "batch", "scoring", "evaluation", "examination"]
State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]

FINAL: frozenset[State] = frozenset(("succeeded", "failed", "cancelled"))
LIVE: frozenset[State] = frozenset(("queued", "running", "paused"))
LEGAL: Mapping[State, frozenset[State]] = {
    "queued": frozenset(("running", "cancelled", "failed")),
    "running": frozenset(("succeeded", "failed", "cancelled", "paused", "queued")),
    "paused": frozenset(("queued", "cancelled")),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

ID_PREFIX: Mapping[Kind, str] = {
    "training": "ftjob-",
    "batch": "batch_",
    "scoring": "score-",
    "evaluation": "eval-",
    "examination": "exam-",
}
QUEUED_PHASE: Mapping[str, str] = {
    "training": "queued",
    "batch": "validating",
    "scoring": "queued",
    "evaluation": "queued",
    "examination": "queued",
}
RUNNING_PHASE: Mapping[str, str] = {
    "training": "running",
    "batch": "in_progress",
    "scoring": "running",
    "evaluation": "running",
    "examination": "running",
}
# Evaluations and examinations keep nothing on the way: paused, they would begin again, so they
# cannot be.
PAUSABLE: frozenset[Kind] = frozenset(("training", "batch", "scoring"))
