"""Reading the answer of a generation worker for as long as its client is there."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from web.connection import Client
from worker.contracts import StreamEntry
from worker.errors import Unavailable
from worker.generation.answer import Answer
from worker.generation.engine_errors import to_error

Entries = Generator[StreamEntry | None, None, None]


class ClientGone(Unavailable):
    """Nobody is there to read the answer any more."""

    default_code = "client_gone"


def present(client: Client, entries: Entries) -> Iterator[StreamEntry]:
    """The entries of an answer for as long as its reader is there."""
    for entry in entries:
        if entry is not None:
            yield entry
        elif client.gone():
            raise ClientGone("The client went away.")


def gather(client: Client, entries: Entries, answer: Answer) -> None:
    """Wait for the end; raises what the worker says went wrong."""
    try:
        for entry in present(client, entries):
            answer.add(entry)
    finally:
        entries.close()
    if answer.error is not None:
        raise to_error(answer.error)
