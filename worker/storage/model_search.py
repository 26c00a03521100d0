"""Finding models by what people remember of them; what it costs does not grow with their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import ColumnElement, String, cast, exists, or_, select

from worker.storage.database import Database
from worker.storage.model_rows import Model, model_from
from worker.storage.tables import aliases, models
from worker.storage.windows import Found, look_through

CHECKPOINT = ":ckpt-step-"  # in the id of a model that a training made on the way
Origin = Literal["finished", "checkpoint", "imported"]
Key = tuple[float, str]  # time of making and id: where a list goes on


class ModelSearch:
    """Searches for clients; every query names the tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(
        self,
        tenant: str,
        text: str = "",
        *,
        origin: Origin | None = None,
        objective: str | None = None,
        after: Key | None = None,
        limit: int = 25,
    ) -> Found[Model, Key]:
        """Models whose id, base, alias, licence or tokenizer have ``text`` in them, in any case.

        Looks at a window of them behind ``after``.
        """
        with self._database.read() as connection:
            return look_through(
                connection,
                select(models).where(models.c.tenant == tenant),
                (models.c.created_at, models.c.id),
                _filters(text, origin, objective),
                after=after,
                limit=limit,
                item=model_from,
                mark=lambda row: (row.created_at, row.id),
            )

    def names(self, tenant: str, ids: Sequence[str]) -> dict[str, list[str]]:
        """The aliases of some models, in the order of the alphabet; by one query."""
        query = (
            select(aliases.c.model_id, aliases.c.name)
            .where(aliases.c.tenant == tenant, aliases.c.model_id.in_(set(ids)))
            .order_by(aliases.c.name)
        )
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for model_id, name in connection.execute(query).all():
                found.setdefault(model_id, []).append(name)
        return found


def _filters(text: str, origin: Origin | None, objective: str | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    is_checkpoint = models.c.id.contains(CHECKPOINT, autoescape=True)
    if origin == "checkpoint":
        found.append(is_checkpoint)
    elif origin == "imported":
        found.append(models.c.job_id.is_(None))
    elif origin == "finished":
        found.append(~is_checkpoint)
    if objective is not None:
        listed = cast(models.c.header["objectives"], String)
        found.append(listed.contains(f'"{objective}"', autoescape=True))
    if text:
        found.append(_mentions(text))
    return found


def _mentions(text: str) -> ColumnElement[bool]:
    header = models.c.header
    places: list[ColumnElement[str]] = [
        models.c.id,
        models.c.base,
        header["licence"].as_string(),
        header["tokenizer"].as_string(),
    ]
    named = exists(
        select(1).where(
            aliases.c.tenant == models.c.tenant,
            aliases.c.model_id == models.c.id,
            aliases.c.name.icontains(text, autoescape=True),
        )
    )
    return or_(*(place.icontains(text, autoescape=True) for place in places), named)
