"""Why a queued job waits, in words, and what ends it."""

from __future__ import annotations

from collections.abc import Callable

from worker.jobs.rows import Waiting
from worker.jobs.waits import FARTHEST


def waiting_text(waiting: Waiting, _: Callable[[str], str] = str) -> str:
    """The reason; ``_`` brings it into a reader's language."""
    hold = waiting.hold
    if hold is not None and hold.suspended:
        return _(
            "It waits because its project is suspended. Whoever runs this service can resume the "
            "project; then it starts in its turn."
        )
    if hold is not None:
        return _("It waits until one of this project's jobs ends: %(limit)s may run at once.") % {
            "limit": hold.running_limit
        }
    if waiting.reason == "no_worker":
        return _(
            "It waits for a worker; none of its kind is there. `textgen up` or `textgen worker` "
            "starts one."
        )
    if waiting.reason == "does_not_fit":
        return _("It waits for a worker with enough memory.")
    if waiting.position == 0:
        return _("It is next: it starts as soon as a worker is free.")
    if waiting.position >= FARTHEST:
        return _("It waits for its turn; %(count)s others or more go before.") % {
            "count": f"{FARTHEST:,}"
        }
    place = f"{waiting.position + 1:,}"
    return _("It waits for its turn; place %(place)s in the queue.") % {"place": place}
