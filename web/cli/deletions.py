"""Before something is deleted for good: what has used it, and whether to go on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from web.cli.terminal import notes

SHOWN = 10
yes_option = click.option("--yes", is_flag=True, help="Do not ask, whatever has used it.")


def confirm_deletion(used: Mapping[str, Any], yes: bool) -> None:
    """Say what has used it; ask where somebody is there to answer. Raises click.Abort."""
    jobs = [f"{job['id']} ({job['kind']}, {job['state']})" for job in used["jobs"]]
    told = {"jobs": jobs, "models": used["models"], "aliases": used["aliases"]}
    for noun, names in told.items():
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            notes().print(f"{used['id']} was used by {noun}: {', '.join(names[:SHOWN])}{more}")
    if any(told.values()) and not yes and sys.stdin.isatty():
        click.confirm("Delete it all the same?", abort=True, err=True)
