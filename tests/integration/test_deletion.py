"""What was deleted is in no file of the storage and in no key of Redis any more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.chaos.services import RedisServer
from worker.backend import Backend
from worker.batches.shard import ShardCounts
from worker.client import connect
from worker.contracts import BundleReference
from worker.storage.models import NewModel
from worker.storage.text_states import TextStates
from worker.storage.uploads import Uploads
from worker.tenants.deletion import TenantDeletion, forget_states
from worker.tenants.options import NewTenant
from worker.tenants.tenants import Tenants

COUNTS = ShardCounts(2, 0, 6, 8, 9, 10, 0.1)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def states(backend: Backend, broker: RedisServer) -> TextStates:
    settings = backend.settings.model_copy(update={"broker_url": broker.url()})
    return TextStates(connect(settings), seconds=600, bound=10**6)


def secret(tenant: str) -> str:
    return f"the secret of {tenant}"


def store(backend: Backend, name: str, tenant: str) -> str:
    with backend.store.create(name) as staging:
        with staging.open("content") as target:
            target.write(secret(tenant).encode())
        staging.commit()
    return name


def fill(backend: Backend, states: TextStates, tenant: str) -> None:
    """Everything that may have bytes in storage: also what is half done."""
    for number in range(2):
        file = f"files/{tenant}-{number}"
        backend.files.create(
            tenant, filename="a", purpose="batch", artifact=store(backend, file, tenant),
            file="content",
        )  # fmt: skip
    uploads = Uploads(backend.database, backend.store)
    upload = uploads.create(
        tenant, filename="a", mime_type="text/plain", purpose="batch", bytes=1000
    )
    part = store(backend, f"uploads/{upload.id}/part_{tenant}", tenant)
    uploads.add_part(tenant, upload.id, f"part_{tenant}", bytes=9, sha256="0" * 64, artifact=part)

    backend.jobs.submit(tenant, "training", {})
    training = backend.jobs.claim("training", "w1")
    assert training is not None
    for step in (0, 10):
        name = store(backend, f"jobs/{training.id}/1/step-{step}", tenant)
        model = NewModel(f"ft:{tenant}:ckpt-step-{step}", tenant, name, "content")
        backend.jobs.save_checkpoint(
            training, artifact=name, step=step, metrics={}, publish_model=model if step else None
        )
    store(backend, f"jobs/{training.id}/1/model", tenant)  # its commit was about to come

    backend.jobs.submit(tenant, "batch", {})
    batch = backend.jobs.claim("batch", "w1")
    assert batch is not None
    backend.jobs.plan_shards(batch, {}, [2, 2])
    backend.jobs.finish_shard(
        batch, 0, store(backend, f"jobs/{batch.id}/1/shard-0", tenant), COUNTS
    )
    store(backend, f"jobs/{batch.id}/1/shard-1", tenant)

    bundle = BundleReference(artifact=f"jobs/{training.id}/1/step-10", file="content")
    for _ in range(2):
        states.add(tenant, model.id, bundle, packed(tenant))


def packed(tenant: str) -> str:
    return json.dumps({"tokens": 3, "values": secret(tenant)})


def holders(folder: Path, tenant: str) -> list[str]:
    """The files that hold a tenant's secret."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in found if secret(tenant).encode() in path.read_bytes()]


def keys_of(broker: RedisServer, tenant: str) -> list[str]:
    client: redis.Redis = broker.client()
    return sorted(key.decode() for key in client.keys(f"*{tenant}*"))


def test_of_a_deleted_tenant_no_byte_is_left(
    backend: Backend, states: TextStates, broker: RedisServer
) -> None:
    tenants = Tenants(backend.database)
    storage = backend.settings.home / "artifacts"
    for tenant in ("acme", "globex"):
        tenants.create(NewTenant.parse({"id": tenant, "name": tenant}))
        fill(backend, states, tenant)
    assert len(holders(storage, "acme")) == len(holders(storage, "globex")) == 8
    assert len(keys_of(broker, "acme")) == 4

    TenantDeletion(backend.database, backend.store, tenants, states).delete("acme", wait_seconds=0)

    assert holders(storage, "acme") == []
    assert keys_of(broker, "acme") == []
    assert len(holders(storage, "globex")) == 8
    assert len(keys_of(broker, "globex")) == 4


def test_a_model_takes_the_states_of_its_texts_along(
    backend: Backend, states: TextStates, broker: RedisServer
) -> None:
    gone, stays = (BundleReference(artifact=f"jobs/{n}/1/model", file="m") for n in (1, 2))
    states.add("acme", "ft:a", gone, packed("acme"))
    other = states.add("acme", "ft:b", stays, packed("acme"))
    twin = states.add("globex", "ft:a", gone, packed("globex"))

    assert states.forget("acme", gone.artifact) == 1

    assert [each.id for each in states.of_tenant("acme")] == [other]
    assert [each.id for each in states.of_tenant("globex")] == [twin]
    assert states.forget("acme", stays.artifact) == 1
    assert keys_of(broker, "acme") == []


def test_a_broker_that_is_away_does_not_keep_a_model(
    states: TextStates, broker: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    broker.kill()

    forget_states(states, "acme", "jobs/1/1/model")

    assert "stay until they expire" in caplog.text
