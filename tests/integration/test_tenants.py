"""Tenants, the audit log, whose jobs may start, and how a tenant goes for good."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from textgen.errors import InvalidOption
from worker.backend import Backend
from worker.errors import Conflict, NotFound, Unauthenticated
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Hold
from worker.migrations import upgrade
from worker.processes.presence import Presence
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.keys import Keys
from worker.storage.models import NewModel, add_model
from worker.tenants.audit import Actor, AuditLog
from worker.tenants.deletion import TenantDeletion
from worker.tenants.options import Limits, NewTenant, TenantOptions
from worker.tenants.plans import Plans
from worker.tenants.tables import audit_log
from worker.tenants.tenants import Tenants


@pytest.fixture
def tenants(database: Database) -> Tenants:
    return Tenants(database, Plans({"free": Limits(running_jobs=1, queued_jobs=5)}))


def make(tenants: Tenants, name: str, **options: object) -> None:
    tenants.create(NewTenant.parse({"id": name, "name": name, **options}))


def claimed(jobs: Jobs, count: int) -> list[str]:
    found = [jobs.claim("training", "w1") for _ in range(count)]
    return [job.tenant for job in found if job is not None]


def test_a_tenant_is_made_changed_and_listed(tenants: Tenants) -> None:
    make(tenants, "acme", plan="free", monthly_budget="12.50", time_zone="Asia/Shanghai")
    make(tenants, "globex")

    with pytest.raises(Conflict):
        make(tenants, "acme")
    changed = tenants.update(
        "acme", TenantOptions.parse({"weight": 3, "limits": {"running_jobs": 4}})
    )

    assert (changed.weight, changed.plan, str(changed.monthly_budget)) == (3, "free", "12.5")
    assert (changed.limits.running_jobs, changed.limits.queued_jobs) == (4, 5)
    assert changed == tenants.get("acme")
    assert [each.id for each in tenants.list().items] == ["acme", "default", "globex"]
    assert tenants.list(limit=1).has_more
    with pytest.raises(NotFound):
        tenants.get("initech")


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"weight": 0}, "weight"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"currency": "euro"}, "currency"),
        ({"monthly_budget": -1}, "monthly_budget"),
        ({"limits": {"running_jobs": 0}}, "limits"),
        ({"plan": "gold"}, "plan"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_is_refused(tenants: Tenants, values: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        tenants.update("default", TenantOptions.parse(values))

    assert caught.value.param == param


class TestAudit:
    def test_every_change_is_written_down(self, tenants: Tenants, database: Database) -> None:
        boss = Actor("default", "k1")
        tenants.create(NewTenant.parse({"id": "acme", "name": "ACME"}), boss)
        tenants.update("acme", TenantOptions.parse({"blocked_words": ["secret"]}), boss)
        key, plaintext = Keys(database).create("acme", "site", ["read"], actor=boss)
        Keys(database).revoke("acme", key.id, boss)

        entries = AuditLog(database).list(["acme"]).items

        assert [entry.type for entry in entries] == [
            "api_key.deleted",
            "api_key.created",
            "project.updated",
            "project.created",
        ]
        assert {entry.actor_key for entry in entries} == {"k1"}
        assert plaintext.split("_", 2)[2] not in str(entries)
        assert "secret" not in str(entries)
        assert AuditLog(database).list(["globex"]).items == []

    @pytest.mark.parametrize(
        "change", [sa.update(audit_log).values(subject="x"), sa.delete(audit_log)]
    )
    def test_it_is_never_changed(
        self, tenants: Tenants, database: Database, change: sa.Executable
    ) -> None:
        make(tenants, "acme")

        with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
            connection.execute(change)
        assert len(AuditLog(database).list(["acme"]).items) == 1


class TestShares:
    def test_a_single_job_goes_before_the_rest_of_a_thousand(
        self, tenants: Tenants, jobs: Jobs, database: Database, settings: Settings
    ) -> None:
        Presence(database, settings).register("w1", "a", "train", {"training": 1})
        make(tenants, "flood", weight=5)
        make(tenants, "single")
        for _ in range(1000):
            jobs.submit("flood", "training", {})
        assert claimed(jobs, 3) == ["flood"] * 3

        one = jobs.submit("single", "training", {})
        told, last = jobs.waiting(one), jobs.waiting(jobs.list("flood", limit=1).items[0])

        assert told is not None and (told.reason, told.position) == ("behind_others", 0)
        assert last is not None and (last.reason, last.position) == ("behind_others", 997)
        assert claimed(jobs, 2) == ["single", "flood"]

    def test_nobody_waits_behind_a_suspended_tenant(
        self, tenants: Tenants, jobs: Jobs, database: Database, settings: Settings
    ) -> None:
        Presence(database, settings).register("w1", "a", "train", {"training": 1})
        make(tenants, "acme")
        held = [jobs.submit("acme", "training", {}) for _ in range(4)]
        free = [jobs.submit("default", "training", {}) for _ in range(2)]

        tenants.suspend("acme")
        places = [told and told.position for told in map(jobs.waiting, free)]
        behind = jobs.waiting(held[-1])

        assert places == [0, 1]
        assert behind is not None and behind.position >= 3

    def test_the_weight_decides_between_tenants(self, tenants: Tenants, jobs: Jobs) -> None:
        make(tenants, "heavy", weight=3)
        make(tenants, "light")
        for tenant in ("light", "heavy"):
            for _ in range(40):
                jobs.submit(tenant, "training", {})

        assert Counter(claimed(jobs, 40)) == {"heavy": 30, "light": 10}

    def test_a_suspended_tenants_jobs_wait(self, tenants: Tenants, jobs: Jobs) -> None:
        make(tenants, "acme")
        running = jobs.submit("acme", "training", {})
        assert claimed(jobs, 1) == ["acme"]
        waiting = jobs.submit("acme", "training", {})
        jobs.submit("default", "training", {})

        tenants.suspend("acme")

        assert jobs.due("training", 10) == 1
        assert claimed(jobs, 3) == ["default"]
        told = jobs.waiting(waiting)
        assert told is not None and told.reason == "quota"
        assert told.hold == Hold(suspended=True)
        assert jobs.get("acme", running.id).state == "running"
        tenants.resume("acme")
        assert claimed(jobs, 3) == ["acme"]

    def test_so_many_jobs_of_a_tenant_run_at_once(self, tenants: Tenants, jobs: Jobs) -> None:
        make(tenants, "acme", limits={"running_jobs": 2})
        for tenant in ("acme", "acme", "acme", "default"):
            jobs.submit(tenant, "training", {})

        first = [jobs.claim("training", "w1") for _ in range(4)]
        told = jobs.waiting(jobs.list("acme", states=["queued"]).items[0])

        assert [job.tenant for job in first if job is not None] == ["acme", "default", "acme"]
        assert told is not None and told.reason == "quota"
        assert told.hold == Hold(suspended=False, running_limit=2)
        assert first[0] is not None
        jobs.succeed(first[0], {})
        assert claimed(jobs, 2) == ["acme"]

    def test_also_when_many_claim_at_once(
        self, tenants: Tenants, jobs: Jobs, database_url: str, backend: Backend
    ) -> None:
        make(tenants, "acme", limits={"running_jobs": 3})
        for _ in range(20):
            jobs.submit("acme", "training", {})
        ready = threading.Barrier(8)

        def claim(number: int) -> None:
            own = Database(database_url)
            mine = Jobs(own, backend.settings)
            ready.wait()
            for _ in range(3):
                mine.claim("training", f"w{number}")
            own.dispose()

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(jobs.list("acme", states=["running"]).items) == 3


class TestRotation:
    def test_both_keys_are_valid_for_a_while(self, database: Database) -> None:
        keys = Keys(database)
        old, first = keys.create("acme", "site", ["read"], expires_in=1000)

        new, second = keys.rotate("acme", old.id, grace_seconds=60)

        assert keys.authenticate(first).id == old.id
        assert keys.authenticate(second) == new
        assert (list(new.scopes), new.name) == (["read"], "site")
        assert new.expires_at is not None and old.expires_at is not None
        assert new.expires_at >= old.expires_at
        kept = keys.get("acme", old.id).expires_at
        assert kept is not None and kept < old.expires_at

    def test_without_grace_the_old_one_ends_at_once(self, database: Database) -> None:
        keys = Keys(database)
        old, first = keys.create("acme", "site", ["read"])
        keys.authenticate(first)

        keys.rotate("acme", old.id, grace_seconds=0)

        with pytest.raises(Unauthenticated):
            keys.authenticate(first)
        with pytest.raises(Conflict):
            keys.rotate("acme", old.id)
        with pytest.raises(NotFound):
            keys.rotate("globex", old.id)


def test_a_deleted_tenant_leaves_nothing(tenants: Tenants, backend: Backend) -> None:
    deletion = TenantDeletion(backend.database, backend.store, tenants)
    for tenant in ("acme", "globex"):
        make(tenants, tenant)
        fill(backend, tenant)

    named = deletion.contents("acme")
    gone = deletion.delete("acme", wait_seconds=0)

    assert named.rows["files"] == named.rows["models"] == gone.rows["files"] == 1
    assert (named.rows["jobs"], named.live_jobs, named.file_bytes) == (2, 2, 5)
    with pytest.raises(NotFound):
        deletion.contents("acme")
    left = deletion.contents("globex")
    assert left.rows == {**named.rows}
    assert all("acme" not in name for name in backend.store.list())
    assert len(list(backend.store.list())) == 3
    log = AuditLog(backend.database).list(["acme"]).items
    assert log[0].type == "project.deleted"
    with pytest.raises(InvalidOption):
        deletion.delete("default", wait_seconds=0)


def fill(backend: Backend, tenant: str) -> None:
    """A file, a model, a running job with a checkpoint, a queued one, a key."""
    job = backend.jobs.submit(tenant, "training", {}, id=f"ftjob-{tenant:0<26}")
    names = [f"files/{tenant}", f"jobs/{job.id}/1/model", f"jobs/{job.id}/1/step-9"]
    for name in names:
        with backend.store.create(name) as staging:
            with staging.open("content") as target:
                target.write(b"hello")
            staging.commit()
    file = backend.files.create(
        tenant, filename="a.txt", purpose="fine-tune", artifact=names[0], file="content"
    )
    with backend.database.write() as connection:
        add_model(connection, tenant, NewModel(f"ft:{tenant}", tenant, names[1], "content"), 1.0)
    backend.models.set_alias(tenant, "mine", f"ft:{tenant}")
    backend.jobs.submit(tenant, "training", {}, uses_files=[file.id])
    assert backend.jobs.claim("training", "w1") is not None
    Keys(backend.database).create(tenant, "k", ["read"])


def test_the_revision_goes_forwards_and_back_on_a_filled_database(
    database_url: str, backend: Backend, tenants: Tenants, new_database: Callable[[], str]
) -> None:
    make(tenants, "acme")
    fill(backend, "acme")
    engine = sa.create_engine(database_url)

    def migrate(to: str, how: Callable[[Config, str], None]) -> None:
        with engine.connect() as connection, connection.begin():
            how(upgrade._config(connection), to)

    migrate("0002", command.downgrade)
    with engine.connect() as connection:
        assert "tenants" not in sa.inspect(connection).get_table_names()
        assert connection.execute(sa.text("SELECT count(*) FROM jobs")).scalar_one() == 2
    migrate("head", command.upgrade)
    engine.dispose()

    again = tenants.get("acme")
    assert (again.id, again.status, again.weight) == ("acme", "active", 1.0)
    assert again.own_limits is None
    assert tenants.get("default").created_at > 1e9
    job = backend.jobs.submit("acme", "training", {})
    assert job.state == "queued"
