"""The database as the operator's commands see it: opened without a running server."""

from __future__ import annotations

from dataclasses import dataclass

import click

from textgen.errors import TextgenError
from web.cli.api import find_key
from worker.backend import Backend
from worker.billing.costs import Costs
from worker.billing.invoices import Invoices
from worker.billing.plans_file import load_terms
from worker.client import connect
from worker.jobs.jobs import Jobs
from worker.settings import Settings, load_settings
from worker.stack.embedded_redis import HOST, running_redis
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.files import Files
from worker.storage.keys import DEFAULT_TENANT, Keys
from worker.storage.models import Models
from worker.storage.text_states import TextStates
from worker.tenants.audit import AuditLog
from worker.tenants.deletion import TenantDeletion
from worker.tenants.tenants import Tenants

tenant_option = click.option(
    "--tenant", help="Whose; without it the tenant of the key that the command line has."
)


@dataclass(frozen=True)
class Operator:
    """What the settings name, opened."""

    settings: Settings
    database: Database
    keys: Keys
    tenants: Tenants
    audit: AuditLog

    def tenant(self, given: str | None) -> str:
        """The tenant named, which must be there, or that of our own key; raises NotFound."""
        if given is not None:
            return self.tenants.get(given).id
        own = find_key(self.settings)
        return self.keys.authenticate(own).tenant if own else DEFAULT_TENANT

    def backend(self) -> Backend:
        """Database and storage; the tables are not brought up to date."""
        store = ArtifactStore(self.settings.effective_storage_url)
        return Backend(
            settings=self.settings,
            database=self.database,
            store=store,
            files=Files(self.database, store),
            jobs=Jobs(self.database, self.settings),
            models=Models(self.database),
        )

    def invoices(self) -> Invoices:
        """The bills, at the prices of the settings' plans file."""
        prices = load_terms(self.settings.plans_file).prices
        return Invoices(self.database, Costs(self.database, prices))

    def deletion(self) -> TenantDeletion:
        """Deletes tenants, their artifacts and the states of their texts too."""
        store = ArtifactStore(self.settings.effective_storage_url)
        return TenantDeletion(self.database, store, self.tenants, self._states())

    def _states(self) -> TextStates | None:
        """Those in the broker; None where the embedded one does not run."""
        settings = self.settings
        if not settings.broker_url:
            redis = running_redis(settings.home / "redis")
            if redis is None:
                return None
            settings = settings.with_broker(HOST, redis.port, redis.password)
        return TextStates(
            connect(settings), seconds=settings.state_seconds, bound=settings.tenant_state_bytes
        )


def open_operator() -> Operator:
    """The database that the settings name; raises TextgenError where there is none."""
    settings = load_settings()
    path = settings.home / "textgen.db"
    if not settings.database_url and not path.is_file():
        raise TextgenError(
            f"There is no database in {settings.home}. Start the service once (`textgen up`), or "
            "name its database: TEXTGEN_DATABASE_URL=…"
        )
    database = Database(settings.effective_database_url)
    return Operator(
        settings=settings,
        database=database,
        keys=Keys(database),
        tenants=Tenants(database, load_terms(settings.plans_file).plans),
        audit=AuditLog(database),
    )
