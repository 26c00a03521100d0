"""The files of a request: what is stored already is used again, what was in vain goes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from textgen.errors import TextgenError
from web.cli.api import Api, RequestFailed, path_of
from web.cli.language import _

Store = Callable[[Path, str], str]


def upload(api: Api, path: Path, purpose: str, console: Console) -> dict[str, Any]:
    """Store a file on the server, with a bar."""
    with (
        Progress(console=console, transient=True) as progress,
        progress.open(
            path, "rb", description=_("uploading %(file)s") % {"file": path.name}
        ) as file,
    ):
        return dict(api.upload(path.name, file, purpose))


@contextmanager
def files_for_a_request(api: Api, console: Console) -> Iterator[Store]:
    """Yield a function that stores a file for a purpose and returns its id.

    Within, the request is made. Where it is refused, what was uploaded for it is deleted.
    """
    uploaded: list[str] = []

    def store(path: Path, purpose: str) -> str:
        known = _known(api, path, purpose)
        if known is not None:
            told = {"file": path.name, "id": known}
            console.print(_("%(file)s is stored already, as %(id)s") % told, soft_wrap=True)
            return known
        uploaded.append(upload(api, path, purpose, console)["id"])
        return uploaded[-1]

    try:
        yield store
    except RequestFailed as error:
        if error.status < 500:  # for good; nobody will ask for them
            for file_id in uploaded:
                with suppress(TextgenError):
                    api.delete(path_of("files", file_id))
        raise


def _known(api: Api, path: Path, purpose: str) -> str | None:
    """The stored file of the same name and content that stays until it is deleted."""
    if not path.is_file():  # a pipe can be read once
        return None
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    same = api.get("/v1/files", sha256=content, purpose=purpose, limit=100)["data"]
    return next(
        (
            str(each["id"])
            for each in same
            if each["filename"] == path.name and each["expires_at"] is None
        ),
        None,
    )
