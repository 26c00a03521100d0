"""Looks for what is not as it should be, over the whole service, and mends it where it can.

After mending everything is looked at again: only what is found no more counts as mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import redis

from worker.backend import Backend
from worker.errors import BrokerUnavailable
from worker.operations.checks.artifacts import Missing, Orphans, Unfinished
from worker.operations.checks.broker_keys import StrayKeys
from worker.operations.checks.damage import Damaged
from worker.operations.checks.finding import Check, Finding
from worker.operations.checks.rows import (
    DanglingAliases,
    LostInputs,
    StrayCheckpoints,
    UploadParts,
)
from worker.operations.checks.stuck_jobs import StuckJobs
from worker.operations.checks.usage import OrphanUsage, UsageSums
from worker.tenants.audit import OPERATOR, AuditLog

MIN_AGE = 3600.0  # what is younger may be waiting for its row
ROUNDS = 3  # mending one thing can bring another to light

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, and what of it is found no more; ``left`` is what the last look found.

    ``unseen`` says what could not be looked at, and why.
    """

    found: Sequence[Finding]
    mended: Sequence[Finding]
    left: Sequence[Finding]
    unseen: Sequence[str]


class ServiceCheck:
    """One service, looked at while it runs."""

    def __init__(
        self,
        backend: Backend,
        broker: redis.Redis | None,
        *,
        min_age: float = MIN_AGE,
        say: Say = lambda _: None,
        stuck: StuckJobs | None = None,
        deep: bool = False,
    ) -> None:
        """With ``deep`` every byte of the storage is read."""
        self._audit = AuditLog(backend.database)
        self._unseen: list[str] = []
        # Rows first: what they give up are orphans for those behind them.
        self._checks: list[Check] = [
            StuckJobs(backend, say=say) if stuck is None else stuck,
            DanglingAliases(backend),
            StrayCheckpoints(backend),
            UploadParts(backend, min_age),
            LostInputs(backend),
            OrphanUsage(backend.database),
            UsageSums(backend.database),
            *([Damaged(backend, say)] if deep else []),
            Missing(backend),
            Orphans(backend, min_age),
            Unfinished(backend, min_age),
        ]
        if broker is None:
            self._unseen.append("Redis: there is none to look at")
        else:
            self._checks.append(StrayKeys(backend.database, broker))

    def look(self) -> Checked:
        """Change nothing; raises DatabaseUnavailable, OSError of the storage."""
        found = [finding for _, findings in self._look() for finding in findings]
        return Checked(found, [], found, tuple(self._unseen))

    def mend(self) -> Checked:
        """Look, mend what can be, and look again until there is nothing more to mend."""
        found: dict[tuple[str, str | None, str], Finding] = {}
        left: list[Finding] = []
        for number in range(ROUNDS + 1):
            looked = list(self._look())
            left = [finding for _, findings in looked for finding in findings]
            fresh = [finding for finding in left if _key(finding) not in found]
            found |= {_key(finding): finding for finding in fresh}
            if number == ROUNDS or not any(not finding.hint for finding in fresh):
                break
            for check, findings in looked:
                self._mend(check, [finding for finding in findings if not finding.hint])
        still = {_key(finding) for finding in left}
        mended = [finding for key, finding in found.items() if key not in still]
        for finding in mended:
            if finding.tenant is not None:
                data = {"what": finding.what}
                self._audit.add(OPERATOR, "check.mended", finding.tenant, finding.id, data)
        return Checked(tuple(found.values()), mended, left, tuple(self._unseen))

    def _look(self) -> Iterator[tuple[Check, list[Finding]]]:
        for check in list(self._checks):
            try:
                yield check, list(check.look())
            except BrokerUnavailable as error:
                self._cannot_see(check, error)

    def _mend(self, check: Check, findings: Sequence[Finding]) -> None:
        try:
            check.mend(findings)
        except BrokerUnavailable as error:
            self._cannot_see(check, error)

    def _cannot_see(self, check: Check, error: BrokerUnavailable) -> None:
        self._unseen.append(f"Redis: {error.message}")
        self._checks.remove(check)


def _key(finding: Finding) -> tuple[str, str | None, str]:
    return finding.what, finding.tenant, finding.id
