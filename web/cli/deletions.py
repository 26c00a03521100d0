"""Before something is deleted for good: what has used it, and whether to go on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from web.cli.language import _, named
from web.cli.terminal import notes

SHOWN = 10
yes_option = click.option("--yes", is_flag=True, help="Do not ask, whatever has used it.")


def confirm_deletion(used: Mapping[str, Any], yes: bool) -> None:
    """Say what has used it; ask where somebody is there to answer. Raises click.Abort."""
    jobs = [f"{job['id']} ({named(job['kind'])}, {named(job['state'])})" for job in used["jobs"]]
    told = {
        _("%(id)s was used by jobs: %(names)s"): jobs,
        _("%(id)s was used by models: %(names)s"): used["models"],
        _("%(id)s was used by aliases: %(names)s"): used["aliases"],
    }
    for sentence, names in told.items():
        if names:
            listed = ", ".join(names[:SHOWN])
            if len(names) > SHOWN:
                more = {"names": listed, "count": len(names) - SHOWN}
                listed = _("%(names)s and %(count)s more") % more
            notes().print(sentence % {"id": used["id"], "names": listed})
    if any(told.values()) and not yes and sys.stdin.isatty():
        click.confirm(_("Delete it all the same?"), abort=True, err=True)
