"""What a check finds, and what each kind of check can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

What = Literal[
    "orphan_artifact",
    "unfinished_artifact",
    "missing_artifact",
    "damaged_artifact",
    "missing_input",
    "orphan_usage",
    "wrong_usage_sum",
    "dangling_alias",
    "stray_checkpoint",
    "stuck_job",
    "stray_upload_part",
    "overdue_upload",
    "stray_redis_key",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    ``hint``: why it is not mended here, and what to do instead; empty where it can be mended.
    """

    what: What
    id: str
    detail: str
    tenant: str | None = None
    hint: str = ""


class Check(Protocol):
    """One kind of things to look at."""

    def look(self) -> Iterator[Finding]:
        """What is wrong now; changes nothing."""

    def mend(self, findings: Sequence[Finding]) -> None:
        """Mend these, each looked at again just before; what is right by now is left alone."""
