"""Every command of the command line with its arguments, options and example."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from web.cli.app import COMMANDS, as_written, textgen
from web.cli.spoken_help import paragraphs

HEAD = """# The command line

`textgen COMMAND --help` says the same. Which server it talks to: `TEXTGEN_BASE_URL` and
`TEXTGEN_API_KEY`, else the stack that was started here. `--json` prints what programs read. Exit
codes: 0 done, 1 the job or request failed, 2 wrong usage. A command that waits can be interrupted
without harm to the job. Results go to standard output and all else to standard error; in a pipe,
and with `NO_COLOR` set, there are no colours.

It speaks English and Chinese: `--language`, else `TEXTGEN_LANGUAGE` (`en`, `zh`), else the locale
as gettext reads it (`LANGUAGE`, `LC_ALL`, `LC_MESSAGES`, `LANG`). `--json` is the same in all
languages.

`eval "$(textgen completion bash)"` in `~/.bashrc` (and the same for zsh and fish) completes
commands, options, and the ids and names of jobs, models and files.
"""


def page() -> str:
    """The page of commands, in the order of `textgen --help`."""
    context, parts = click.Context(textgen, info_name="textgen"), [HEAD]
    for name, command in _commands():
        parts += _command(command, click.Context(command, info_name=name, parent=context), 2)
    return "\n".join(parts)


def summaries() -> str:
    """What `textgen --help` says of each command, as JSON: the first paragraph of its help."""
    said = {name: paragraphs(str(command.help))[0] for name, command in _commands()}
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def _commands() -> Iterator[tuple[str, click.Command]]:
    return ((name, as_written(name)) for name in COMMANDS)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}\n"
    yield f"{_text(command.help)}\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(
                    inner, click.Context(inner, info_name=name, parent=context), level + 1
                )
        return
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"    {context.command_path} {pieces}\n"
    rows = [_row(parameter, context) for parameter in command.params]
    shown = [row for row in rows if row]
    if shown:
        yield "\n".join(["| option | meaning |", "|---|---|", *shown]) + "\n"
    if command.epilog:
        yield f"{_example(command.epilog)}\n"


def _row(parameter: click.Parameter, context: click.Context) -> str:
    record = parameter.get_help_record(context)
    if record is None:
        return ""
    names, meaning = record
    return f"| `{_cell(names)}` | {_cell(meaning)} |"


def _text(text: str | None) -> str:
    """A help text as paragraphs; blocks that click leaves as they are become code."""
    paragraphs = []
    for part in (text or "").split("\n\n"):
        lines = part.strip("\n").splitlines()
        if lines and lines[0].strip() == "\b":
            paragraphs.append("\n".join(f"    {line.strip()}" for line in lines[1:]))
        else:
            paragraphs.append(" ".join(" ".join(lines).split()))
    return "\n\n".join(part for part in paragraphs if part)


def _example(epilog: str) -> str:
    lines = [line.strip() for line in epilog.replace("\b", "").splitlines() if line.strip()]
    title, *commands = lines
    if not commands and ": " in title:
        title, command = title.split(": ", 1)
        title, commands = f"{title}:", [command]
    return "\n".join([title, "", *(f"    {command}" for command in commands)])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
