"""Keys in Redis whose owner is gone and that nothing will remove.

All our keys expire. Left over can be: states of the texts of a tenant that was deleted, until
their time is over, and streams whose writer died between writing and saying when they expire.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import redis
from sqlalchemy import select

from worker.errors import BrokerUnavailable
from worker.operations.checks.finding import Finding
from worker.redis_keys import answers_key, reader_key, stops_key, worker_key
from worker.storage.database import Database
from worker.storage.text_states import states_prefixes
from worker.tenants.tables import tenants

AT_ONCE = 500
IDLE_SECONDS = 60  # what is written to has its expiry set again by then
# KEYS: a stream, its owner's sign of life. ARGV: seconds. Deletes one that is still ownerless.
_DROP_STREAM = """
if redis.call('EXISTS', KEYS[2]) == 1 or redis.call('TTL', KEYS[1]) ~= -1 then return 0 end
if redis.call('OBJECT', 'IDLETIME', KEYS[1]) < tonumber(ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])
"""


class StrayKeys:
    """Looks at one Redis; every method raises BrokerUnavailable."""

    def __init__(
        self, database: Database, connection: redis.Redis, idle_seconds: int = IDLE_SECONDS
    ) -> None:
        self._database = database
        self._redis = connection
        self._idle = idle_seconds
        self._drop = connection.register_script(_DROP_STREAM)

    def look(self) -> Iterator[Finding]:
        """By a scan, which holds nothing up."""
        try:
            yield from self._streams()
            yield from self._states()
        except (redis.RedisError, OSError) as error:
            raise BrokerUnavailable(f"Redis does not answer: {error}.") from error

    def mend(self, findings: Sequence[Finding]) -> None:
        """Delete each whose owner is still gone."""
        try:
            for finding in findings:
                owner = _owner_of(finding.id)
                if owner is not None:
                    self._drop(keys=[finding.id, owner], args=[self._idle])
                elif self._gone_tenants({finding.tenant or ""}):
                    self._redis.delete(finding.id)
        except (redis.RedisError, OSError) as error:
            raise BrokerUnavailable(f"Redis does not answer: {error}.") from error

    def _streams(self) -> Iterator[Finding]:
        for key_of in (answers_key, stops_key):
            for keys in self._scanned(f"{key_of('')}*"):
                with self._redis.pipeline(transaction=False) as pipe:
                    for key in keys:
                        pipe.ttl(key)
                        pipe.exists(_owner_of(key) or "")
                        pipe.object("idletime", key)
                    answers: list[Any] = pipe.execute(raise_on_error=False)
                for place, key in enumerate(keys):
                    ttl, there, idle = answers[3 * place : 3 * place + 3]
                    if ttl == -1 and not there and isinstance(idle, int) and idle >= self._idle:
                        yield Finding("stray_redis_key", key, "its process is gone; never expires")

    def _states(self) -> Iterator[Finding]:
        for prefix in states_prefixes():
            for keys in self._scanned(f"{prefix}*"):
                owners = {key: key.removeprefix(prefix).split(":")[0] for key in keys}
                gone = self._gone_tenants(set(owners.values()))
                for key, owner in owners.items():
                    if owner in gone:
                        yield Finding("stray_redis_key", key, "its tenant is gone", owner)

    def _scanned(self, pattern: str) -> Iterator[list[str]]:
        keys = iter(self._redis.scan_iter(pattern, count=AT_ONCE))
        while some := list(islice(keys, AT_ONCE)):
            yield some

    def _gone_tenants(self, names: set[str]) -> set[str]:
        with self._database.read() as connection:
            found = connection.execute(
                select(tenants.c.id).where(tenants.c.id.in_(sorted(names)))
            ).scalars()
            return names - set(found)


def _owner_of(key: str) -> str | None:
    """The key that is there while whoever reads a stream lives; None for other keys."""
    for stream, sign in ((answers_key, reader_key), (stops_key, worker_key)):
        if key.startswith(stream("")):
            return sign(key.removeprefix(stream("")))
    return None
