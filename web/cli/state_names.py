"""Words of the API's answers that people see: states, kinds, and why a job waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web.cli.language import _


def named(word: str) -> str:
    """A state, a kind or a unit in the reader's language; itself where it is another word."""
    return {
        "queued": _("queued"),
        "running": _("running"),
        "paused": _("paused"),
        "succeeded": _("succeeded"),
        "failed": _("failed"),
        "cancelled": _("cancelled"),
        "training": _("training"),
        "batch": _("batch"),
        "scoring": _("scoring"),
        "evaluation": _("evaluation"),
        "examination": _("examination"),
        "rows": _("rows"),
        "model": _("model"),
        "preset": _("preset"),
        "active": _("active"),
        "suspended": _("suspended"),
        "valid": _("valid"),
        "expired": _("expired"),
        "revoked": _("revoked"),
    }.get(word, word)


def waiting_for(waiting: Mapping[str, Any]) -> str:
    """Why a queued job waits."""
    reason = str(waiting["reason"])
    if reason == "behind_others" and waiting.get("position") == 0:
        return _("it is the next one")
    return {
        "behind_others": _("its turn has not come yet"),
        "quota": _("your quota is in use"),
        "running_jobs": _("as many jobs of this project run as may at once"),
        "suspended": _("this project is suspended; whoever runs the service can resume it"),
        "no_worker": _("no worker is running; start one with `textgen worker train` or `generate`"),
        "does_not_fit": _("no worker is large enough for it"),
    }.get(waiting.get("hold") or reason, reason)
