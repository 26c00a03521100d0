"""What an error of the API advises, as the command that does it: errors name routes of HTTP."""

from __future__ import annotations

import re

ROUTE = re.compile(r"`?(GET|POST) /v1/(\w+)(?:/([\w-]+))?(?:/(\w+))?`?")
COMMANDS = {
    ("GET", "jobs", None): "jobs show",
    ("POST", "jobs", "retry"): "jobs retry",
    ("GET", "models", None): "models",
    ("POST", "files", None): "files upload",
    ("POST", "evaluations", None): "eval",
    ("POST", "completions", None): "generate",
    ("POST", "classify", None): "classify",
}


def as_commands(message: str) -> str:
    """The message with each route that a command stands for replaced by it."""
    return ROUTE.sub(_command, message)


def _command(route: re.Match[str]) -> str:
    method, resource, identifier, verb = route.groups()
    command = COMMANDS.get((method, resource, verb))
    if command is None:
        return route.group()
    if identifier is None:
        return f"`textgen {command.removesuffix(' show')}`"
    return f"`textgen {command} {identifier}`"
