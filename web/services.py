"""What the views work with, built once a process and handed to the app factory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from flask import current_app

from web.departures import WatchedCompletions
from web.live.hub import Hub
from web.live.rights import Rights
from web.rate_limits import ProjectSlots, RateLimits
from web.safe_retries import Answered
from web.slots import Slots, StreamSlots
from worker.backend import open_backend
from worker.billing.admission import Admission
from worker.billing.budgets import Budgets
from worker.billing.invoices import Invoices
from worker.billing.plans_file import Terms, load_terms
from worker.celery_app import make_publisher
from worker.client import ANSWER_RETRIES, Completions, Wakeups, connect
from worker.contracts import GenerateRequest, Queue, StreamEntry
from worker.generation.engine_states import EngineState, EngineStates
from worker.generation.model_tokenizers import ModelTokenizers
from worker.generation.work import States
from worker.jobs.jobs import Jobs
from worker.metrics.published import Published, PublishedMetrics
from worker.processes.health import WorkersHealth
from worker.settings import Settings
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.files import Files
from worker.storage.keys import Keys
from worker.storage.models import Models
from worker.storage.text_states import StoredState, TextStates
from worker.storage.uploads import Uploads
from worker.storage.uses import Uses
from worker.tenants.audit import AuditLog
from worker.tenants.deletion import TenantDeletion
from worker.tenants.monthly_quotas import MonthlyQuotas
from worker.tenants.quotas import Quotas
from worker.tenants.tenants import Tenants
from worker.usage.months import UsageMonths
from worker.usage.usage import Usage
from worker.webhooks.destinations import Allowed
from worker.webhooks.endpoints import Endpoints
from worker.webhooks.sender import Sender


class Publisher(Protocol):
    """Tells idle workers that a queue has work; jobs do not depend on it."""

    def publish(self, queue: Queue) -> bool:
        """Try once; False when it did not go out."""

    def ping(self) -> None:
        """Raise BrokerUnavailable unless the broker answers."""


class Generator(Protocol):
    """Carries completion requests to a worker and brings the answers back."""

    def start(self, request: GenerateRequest) -> None:
        """Send a request."""

    def read(self, request_id: str) -> Iterator[StreamEntry | None]:
        """Yield the answer's entries; None where a moment passed without one."""


class StateStore(States, Protocol):
    """The states of texts, also to look at and to delete."""

    def get(self, tenant: str, state_id: str) -> StoredState:
        """What is known of one; raises NotFound."""

    def of_tenant(self, tenant: str) -> list[StoredState]:
        """All of a tenant's, the newest first."""

    def delete(self, tenant: str, state_id: str) -> None:
        """Forget one; raises NotFound."""

    def forget(self, tenant: str, artifact: str = "") -> int:
        """Forget those of an artifact, or all; how many."""


class Engines(Protocol):
    """What generation workers say of their engines."""

    def of(self, workers: Sequence[str]) -> dict[str, EngineState]:
        """By ``name.incarnation``, of those that have said something; BrokerUnavailable."""

    def requests_waiting(self) -> int:
        """Interactive requests that no worker has taken yet; raises BrokerUnavailable."""


@dataclass(frozen=True)
class Services:
    """The parts of the backend as one web process sees them."""

    settings: Settings
    database: Database
    store: ArtifactStore
    files: Files
    jobs: Jobs
    models: Models
    keys: Keys
    wakeups: Publisher
    completions: Generator
    states: StateStore
    engines: Engines
    published: Published
    terms: Terms = field(default_factory=Terms)
    stopping: threading.Event = field(default_factory=threading.Event)
    answers: Slots = field(init=False)  # completions that hold a thread
    answered: Answered = field(default_factory=Answered)
    streams: StreamSlots = field(init=False)  # followers of jobs; they hold no thread
    hub: Hub = field(init=False)
    tokenizers: ModelTokenizers = field(init=False)
    tenants: Tenants = field(init=False)
    deletion: TenantDeletion = field(init=False)
    audit: AuditLog = field(init=False)
    uses: Uses = field(init=False)
    usage: Usage = field(init=False)
    usage_months: UsageMonths = field(init=False)
    budgets: Budgets = field(init=False)
    rates: RateLimits = field(init=False)
    quotas: Quotas = field(init=False)
    monthly: MonthlyQuotas = field(init=False)
    admission: Admission = field(init=False)
    sender: Sender = field(init=False)
    endpoints: Endpoints = field(init=False)
    uploads: Uploads = field(init=False)
    project_slots: ProjectSlots = field(init=False)
    invoices: Invoices = field(init=False)
    workers: WorkersHealth = field(init=False)

    def __post_init__(self) -> None:
        threads = self.settings.web_threads
        object.__setattr__(self, "answers", Slots(max(1, threads * 3 // 4), "completion requests"))
        object.__setattr__(self, "streams", StreamSlots(threads * 4))
        object.__setattr__(self, "tokenizers", ModelTokenizers(self.store))
        tenants = Tenants(self.database, self.terms.plans)
        budgets = Budgets(self.database, self.terms.prices)
        object.__setattr__(self, "budgets", budgets)
        object.__setattr__(self, "rates", RateLimits(self.settings.broker_url))
        quotas, monthly = Quotas(self.database), MonthlyQuotas(self.database)
        object.__setattr__(self, "quotas", quotas)
        object.__setattr__(self, "monthly", monthly)
        object.__setattr__(self, "admission", Admission(quotas, monthly, budgets))
        sender = Sender(Allowed.parse(self.settings.webhook_allow))
        object.__setattr__(self, "sender", sender)
        object.__setattr__(self, "endpoints", Endpoints(self.database, sender))
        object.__setattr__(self, "uploads", Uploads(self.database, self.store))
        object.__setattr__(self, "project_slots", ProjectSlots())
        object.__setattr__(self, "invoices", Invoices(self.database, budgets.costs))
        workers = WorkersHealth(self.database, self.settings, self.published)
        object.__setattr__(self, "workers", workers)
        object.__setattr__(self, "tenants", tenants)
        object.__setattr__(self, "hub", Hub(self.jobs, Rights(self.keys, tenants), self.stopping))
        deletion = TenantDeletion(self.database, self.store, tenants, self.states)
        object.__setattr__(self, "deletion", deletion)
        object.__setattr__(self, "audit", AuditLog(self.database))
        usage = Usage(self.database)
        object.__setattr__(self, "usage", usage)
        object.__setattr__(self, "usage_months", UsageMonths(usage))
        object.__setattr__(self, "uses", Uses(self.database, self.store))


def build_services(settings: Settings) -> Services:
    """Everything for real: the database is brought up to date and the first key is made."""
    backend = open_backend(settings)
    publisher, connection = make_publisher(settings), connect(settings)
    keys = Keys(backend.database)
    keys.ensure_admin(settings)
    terms = load_terms(settings.plans_file)
    services = Services(
        settings=settings,
        database=backend.database,
        store=backend.store,
        files=backend.files,
        jobs=backend.jobs,
        models=backend.models,
        keys=keys,
        wakeups=Wakeups(publisher, connection, settings.broker_retry_seconds),
        completions=WatchedCompletions(
            Completions(
                publisher,
                connect(settings, retries=ANSWER_RETRIES),
                settings.interactive_timeout_seconds,
            )
        ),
        states=TextStates(
            connection, seconds=settings.state_seconds, bound=settings.tenant_state_bytes
        ),
        engines=EngineStates(connection),
        published=PublishedMetrics(connection, settings.broker_retry_seconds),
        terms=terms,
    )
    services.tenants.apply_plans()
    return services


def current() -> Services:
    """The services of the app that handles the current request."""
    return cast(Services, current_app.extensions["textgen"])
