"""Finding files by what people remember of them; what it costs does not grow with their number."""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_, select

from worker.storage.database import Database
from worker.storage.file_rows import FileRow, file_from
from worker.storage.tables import files
from worker.storage.windows import Found, look_through


class FileSearch:
    """Searches for clients; every query names the tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(
        self, tenant: str, text: str, *, purpose: str, after: str | None = None, limit: int = 25
    ) -> Found[FileRow, str]:
        """Files of a purpose whose name or id has ``text`` in it, whatever its case.

        Looks at a window of them behind ``after``.
        """
        rows = select(files).where(files.c.tenant == tenant, files.c.purpose == purpose)
        with self._database.read() as connection:
            return look_through(
                connection,
                rows,
                (files.c.id,),
                (_mentions(text),) if text else (),
                after=None if after is None else (after,),
                limit=limit,
                item=file_from,
                mark=lambda row: str(row.id),
            )


def _mentions(text: str) -> ColumnElement[bool]:
    return or_(
        files.c.filename.icontains(text, autoescape=True),
        files.c.id.icontains(text, autoescape=True),
    )
