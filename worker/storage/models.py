"""Trained models and the names that users give them.

A model is a row that points to a file in an artifact. An alias is a name of the user's own that
points to a model and moves in one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NoReturn

from sqlalchemy import and_, bindparam, case, delete, func, insert, select
from sqlalchemy.engine import Connection

from worker.errors import Conflict, NotFound
from worker.jobs.states import ID_PREFIX
from worker.jobs.tables import checkpoints
from worker.jobs.uses import live_user
from worker.storage.database import Database, insert_into
from worker.storage.files import Room
from worker.storage.model_rows import Alias, Model, NewModel, model_from
from worker.storage.model_search import ModelSearch
from worker.storage.tables import aliases, models

__all__ = ["BEST", "Alias", "Model", "Models", "NewModel", "add_model", "put_alias"]

CACHE_SIZE = 1000
BEST = ":best"  # behind the id of a training


def add_model(
    connection: Connection, tenant: str, model: NewModel, now: float, *, job_id: str | None = None
) -> None:
    """Add a model within a transaction, such as the one that ends its job."""
    connection.execute(
        insert(models).values(
            tenant=tenant,
            id=model.id,
            base=model.base,
            owned_by=model.owned_by,
            job_id=job_id,
            artifact=model.artifact,
            file=model.file,
            header=dict(model.header),
            created_at=now,
        )
    )


def put_alias(connection: Connection, tenant: str, name: str, model: str, now: float) -> Alias:
    """Make or move an alias within a transaction, such as the one that ends a training."""
    _refuse_model_id(connection, tenant, name)
    target = connection.execute(
        select(aliases.c.model_id).where(aliases.c.tenant == tenant, aliases.c.name == model)
    ).scalar_one_or_none()
    found = _model(connection, tenant, model if target is None else target, model, lock=True)
    values = {"model_id": found.id, "updated_at": now}
    connection.execute(
        insert_into(connection, aliases)
        .values(tenant=tenant, name=name, **values)
        .on_conflict_do_update(index_elements=["tenant", "name"], set_=values)
    )
    return Alias(name, found.id, now)


# Made once: every completion asks it, and to make it takes longer than to answer it.
_ID_OF = select(models.c.id).where(
    models.c.tenant == bindparam("tenant"),
    models.c.id
    == func.coalesce(
        select(aliases.c.model_id)
        .where(aliases.c.tenant == bindparam("tenant"), aliases.c.name == bindparam("name"))
        .scalar_subquery(),
        bindparam("name"),
    ),
)


class Models(ModelSearch):
    """Models and aliases of every tenant. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._known: dict[tuple[str, str], Model] = {}  # a model that is there never changes

    def get(self, tenant: str, model_id: str) -> Model:
        """A model by its id; raises NotFound."""
        with self._database.read() as connection:
            return _model(connection, tenant, model_id)

    def resolve(self, tenant: str, name: str) -> Model:
        """A model by its id, by an alias, or by the training that makes it; raises NotFound.

        The id of a training stands for its model, and until that is there for its newest
        checkpoint; with ``:best`` behind it for the best weights that this checkpoint has.
        """
        training = name.removesuffix(BEST)
        with self._database.read() as connection:
            found: str | None = connection.execute(
                _ID_OF, {"tenant": tenant, "name": name}
            ).scalar_one_or_none()
            known = None if found is None else self._known.get((tenant, found))
            if known is not None:
                return known
            if found is None and training.startswith(ID_PREFIX["training"]):
                found = _made_by(connection, tenant, training)
            model = _model(connection, tenant, name if found is None else found, name)
        if len(self._known) >= CACHE_SIZE:
            self._known.clear()
        self._known[tenant, model.id] = model
        best = model.header.get("best") if training != name else None
        return model if best is None else replace(model, file=best["file"], header=best)

    def add(
        self, tenant: str, new: NewModel, alias: str | None = None, room: Room = nullcontext
    ) -> Model:
        """Make a model known that no job has made, under a name of the user's own if given.

        Raises Conflict when a model has that name, and what ``room`` does.
        """
        with self._database.write() as connection, room(connection):
            now = self._database.now(connection)
            add_model(connection, tenant, new, now)
            if alias is not None:
                put_alias(connection, tenant, alias, new.id, now)
            return _model(connection, tenant, new.id)

    def list(self, tenant: str) -> list[Model]:
        """All models, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(models)
                .where(models.c.tenant == tenant)
                .order_by(models.c.created_at.desc(), models.c.id.desc())
            ).all()
        return [model_from(row) for row in rows]

    def names_of_artifacts(self, artifacts: Iterable[str]) -> dict[str, str]:
        """The ids of the models that lie there, whosever they are; of those that are known."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(models.c.artifact, models.c.id).where(models.c.artifact.in_(set(artifacts)))
            ).all()
        return {row.artifact: row.id for row in rows}

    def delete(self, tenant: str, model_id: str) -> Model:
        """Forget a model, its aliases and that it is a checkpoint.

        Raises NotFound, or Conflict while a job needs it.

        The artifact stays until nothing points to it; the sweep removes it.
        """
        with self._database.write() as connection:
            model = _model(connection, tenant, model_id, lock=True)
            user = live_user(connection, tenant, "model", model_id)
            if user is not None:
                raise Conflict(
                    f"The model {model_id!r} is used by the job {user}. Wait for its end or "
                    "cancel it, then delete the model.",
                    code="model_in_use",
                    param="model",
                )
            connection.execute(
                delete(aliases).where(aliases.c.tenant == tenant, aliases.c.model_id == model_id)
            )
            connection.execute(
                delete(checkpoints).where(
                    checkpoints.c.tenant == tenant, checkpoints.c.model_id == model_id
                )
            )
            connection.execute(
                delete(models).where(models.c.tenant == tenant, models.c.id == model_id)
            )
        return model

    def aliases(self, tenant: str) -> Sequence[Alias]:
        """All aliases, by name."""
        with self._database.read() as connection:
            rows = connection.execute(
                _aliases().where(aliases.c.tenant == tenant).order_by(aliases.c.name)
            ).all()
        return [Alias(*row) for row in rows]

    def get_alias(self, tenant: str, name: str) -> Alias:
        """One alias; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(
                _aliases().where(aliases.c.tenant == tenant, aliases.c.name == name)
            ).one_or_none()
        return Alias(*row) if row is not None else _no_alias(name)

    def set_alias(self, tenant: str, name: str, model: str) -> Alias:
        """Make or move an alias to a model (or to what another alias stands for now).

        Raises NotFound when there is no such model, Conflict when a model has that name.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            return put_alias(connection, tenant, name, model, now)

    def delete_alias(self, tenant: str, name: str) -> None:
        """Forget an alias; its model stays. Raises NotFound."""
        with self._database.write() as connection:
            gone = connection.execute(
                delete(aliases).where(aliases.c.tenant == tenant, aliases.c.name == name)
            )
            if gone.rowcount == 0:
                _no_alias(name)


def _refuse_model_id(connection: Connection, tenant: str, name: str) -> None:
    taken = connection.execute(
        select(models.c.id).where(models.c.tenant == tenant, models.c.id == name)
    ).first()
    if taken is not None:
        raise Conflict(f"{name!r} is a model's id; choose another alias.", code="alias_is_model")


def _aliases() -> Any:
    return select(aliases.c.name, aliases.c.model_id, aliases.c.updated_at)


def _made_by(connection: Connection, tenant: str, job_id: str) -> str:
    """The id of a training's model, else of its newest checkpoint; raises NotFound."""
    step = checkpoints.c.step  # a finished model has none
    found: str | None = connection.execute(
        select(models.c.id)
        .outerjoin(
            checkpoints,
            and_(checkpoints.c.job_id == models.c.job_id, checkpoints.c.model_id == models.c.id),
        )
        .where(models.c.tenant == tenant, models.c.job_id == job_id)
        .order_by(case((step.is_(None), 0), else_=1), step.desc())
        .limit(1)
    ).scalar_one_or_none()
    if found is None:
        raise NotFound(
            f"There is no model of a training {job_id[:100]!r}: it has made no checkpoint yet, or "
            "there is no such training. `GET /v1/jobs` lists those there are.",
            code="model_not_found",
            param="model",
        )
    return found


def _model(
    connection: Connection, tenant: str, model_id: str, asked: str = "", *, lock: bool = False
) -> Model:
    query = select(models).where(models.c.tenant == tenant, models.c.id == model_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        name = asked if asked else model_id
        raise NotFound(
            f"There is no model {name[:200]!r}. `GET /v1/models` lists those there are.",
            code="model_not_found",
            param="model",
        )
    return model_from(row)


def _no_alias(name: str) -> NoReturn:
    raise NotFound(f"There is no alias {name[:100]!r}.", code="alias_not_found", param="name")
