"""Trained models and the names that users give them.

A model is a row that points to a file in an artifact. An alias is a name of the user's own that
points to a model and moves in one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sqlalchemy import and_, case, delete, insert, select
from sqlalchemy.engine import Connection, Row

from worker.errors import Conflict, NotFound
from worker.jobs.states import ID_PREFIX
from worker.jobs.tables import checkpoints
from worker.jobs.uses import live_user
from worker.storage.database import Database, insert_into
from worker.storage.tables import aliases, models


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model to be added."""

    id: str
    owned_by: str
    artifact: str
    file: str
    base: str | None = None
    header: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model. ``header`` has what clients may see of its bundle's header."""

    id: str
    tenant: str
    base: str | None
    owned_by: str
    job_id: str | None
    artifact: str
    file: str
    header: dict[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class Alias:
    """A name, and the id of the model it stands for."""

    name: str
    model: str
    updated_at: float


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


class Models:
    """Models and aliases of every tenant. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, tenant: str, model_id: str) -> Model:
        """A model by its id; raises NotFound."""
        with self._database.read() as connection:
            return _model(connection, tenant, model_id)

    def resolve(self, tenant: str, name: str) -> Model:
        """A model by its id, by an alias, or by the training that makes it; raises NotFound.

        The id of a training stands for its model, and until that is there for its newest
        checkpoint.
        """
        with self._database.read() as connection:
            target = connection.execute(
                select(aliases.c.model_id).where(aliases.c.tenant == tenant, aliases.c.name == name)
            ).scalar_one_or_none()
            if target is None and name.startswith(ID_PREFIX["training"]):
                target = _made_by(connection, tenant, name)
            return _model(connection, tenant, name if target is None else target, name)

    def list(self, tenant: str) -> list[Model]:
        """All models, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(models)
                .where(models.c.tenant == tenant)
                .order_by(models.c.created_at.desc(), models.c.id.desc())
            ).all()
        return [_from(row) for row in rows]

    def delete(self, tenant: str, model_id: str) -> Model:
        """Forget a model and its aliases; raises NotFound, or Conflict while a job needs it.

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
    return _from(row)


def _from(row: Row[Any]) -> Model:
    return Model(**{name: row._mapping[name] for name in Model.__dataclass_fields__})


def _no_alias(name: str) -> NoReturn:
    raise NotFound(f"There is no alias {name[:100]!r}.", code="alias_not_found", param="name")
