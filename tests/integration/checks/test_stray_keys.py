"""Keys in Redis whose owner is gone."""

from __future__ import annotations

import json

import pytest
import redis

from tests.integration.checks.unsound import (
    BUNDLE,
    file,
    kinds,
)
from tests.integration.conftest import store
from worker.backend import Backend
from worker.operations.check import ServiceCheck
from worker.operations.checks.broker_keys import StrayKeys
from worker.stack.embedded_redis import HOST
from worker.storage.text_states import TextStates


class TestRedis:
    @pytest.mark.usefixtures("sound")
    def test_keys_whose_owner_is_gone(self, backend: Backend, broker: redis.Redis) -> None:
        kept = set(broker.keys())
        states = TextStates(broker, seconds=600, bound=10**6)
        state_id = states.add("deleted", "ft-1", BUNDLE, json.dumps({"tokens": 3}))
        broker.xadd("textgen:answers:dead", {"entries": "x"})
        broker.xadd("textgen:stops:dead", {"request": "x"})
        check = StrayKeys(backend.database, broker, idle_seconds=0)

        found = list(check.look())

        assert kinds(found) == [
            ("stray_redis_key", "textgen:answers:dead"),
            ("stray_redis_key", "textgen:state-sizes:deleted"),
            ("stray_redis_key", f"textgen:state:deleted:{state_id}"),
            ("stray_redis_key", "textgen:states:deleted"),
            ("stray_redis_key", "textgen:stops:dead"),
        ]
        check.mend(found)
        assert list(check.look()) == []
        assert set(broker.keys()) == kept

    def test_those_that_are_written_to_or_will_expire(
        self, backend: Backend, broker: redis.Redis
    ) -> None:
        broker.xadd("textgen:answers:busy", {"entries": "x"})  # a moment ago
        assert list(StrayKeys(backend.database, broker).look()) == []

        broker.xadd("textgen:answers:soon", {"entries": "x"})
        broker.expire("textgen:answers:soon", 60)
        check = StrayKeys(backend.database, broker, idle_seconds=0)
        assert kinds(check.look()) == [("stray_redis_key", "textgen:answers:busy")]

    def test_an_owner_that_came_meanwhile(self, backend: Backend, broker: redis.Redis) -> None:
        broker.xadd("textgen:answers:a", {"entries": "x"})
        check = StrayKeys(backend.database, broker, idle_seconds=0)
        found = list(check.look())
        broker.set("textgen:reader:a", "1", ex=60)

        check.mend(found)

        assert broker.exists("textgen:answers:a")

    def test_without_one_the_rest_is_looked_at(self, backend: Backend) -> None:
        away = redis.Redis(host=HOST, port=1, decode_responses=True)
        file(backend, "file-1")  # or storage and database would not belong together

        for broker in (away, None):
            store(backend, "files/orphan")
            done = ServiceCheck(backend, broker, min_age=0).mend()

            assert kinds(done.mended) == [("orphan_artifact", "files/orphan")]
            assert [line.split(":")[0] for line in done.unseen] == ["Redis"]
