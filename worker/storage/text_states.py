"""States of texts, kept in Redis for an hour or so, from which any generation worker goes on.

They are a short way, not a record: Redis may lose them, and a client that sends the whole text
again gets the same. A tenant's own keys hold them, so another's are out of reach by their name.
When a tenant has more than its bound, those whose last use is the longest ago leave.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from textgen.errors import InvalidOption
from worker.contracts import BundleReference
from worker.errors import BrokerUnavailable, NotFound
from worker.storage.ids import ALPHABET, ORDINAL_LENGTH, new_id

PREFIX = "state_"
_FORM = re.compile(PREFIX + f"[{ALPHABET}]{{{ORDINAL_LENGTH}}}")
FIELDS = ("model", "artifact", "file", "tokens", "created_at", "expires_at", "bytes")

# KEYS: index (id by expiry), sizes (id to bytes, all under ""). ARGV: prefix of the states' keys.
_DROP = """
local function drop(id)
  local size = redis.call('HGET', KEYS[2], id)
  if size then redis.call('HINCRBY', KEYS[2], '', -size) end
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[1], id)
  redis.call('DEL', ARGV[1] .. id)
end
"""
# The same, and ARGV: id, bytes, seconds, bound, then the fields of the state.
_ADD = f"""{_DROP}
local now = tonumber(redis.call('TIME')[1])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do drop(id) end
local size, seconds = tonumber(ARGV[3]), tonumber(ARGV[4])
while (tonumber(redis.call('HGET', KEYS[2], '')) or 0) + size > tonumber(ARGV[5]) do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not oldest then break end
  drop(oldest)
end
local key = ARGV[1] .. ARGV[2]
redis.call('HSET', key, 'created_at', now, 'expires_at', now + seconds, unpack(ARGV, 6))
redis.call('ZADD', KEYS[1], now + seconds, ARGV[2])
redis.call('HSET', KEYS[2], ARGV[2], size)
redis.call('HINCRBY', KEYS[2], '', size)
for _, each in ipairs({{key, KEYS[1], KEYS[2]}}) do redis.call('EXPIRE', each, seconds) end
"""
# The same, and ARGV: the artifact whose states go, or '' for all. How many went.
_FORGET = f"""{_DROP}
local gone = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if ARGV[2] == '' or redis.call('HGET', ARGV[1] .. id, 'artifact') == ARGV[2] then
    drop(id)
    gone = gone + 1
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
return gone
"""
# KEYS: state, index, sizes. ARGV: id, seconds. Its fields, with its life begun anew.
_USE = """
local found = redis.call('HGETALL', KEYS[1])
if #found > 0 then
  local seconds = tonumber(ARGV[2])
  local expires = tonumber(redis.call('TIME')[1]) + seconds
  redis.call('HSET', KEYS[1], 'expires_at', expires)
  redis.call('ZADD', KEYS[2], expires, ARGV[1])
  for _, each in ipairs(KEYS) do redis.call('EXPIRE', each, seconds) end
end
return found
"""
# KEYS: state, index, sizes. ARGV: id. How many there were.
_DELETE = """
local size = redis.call('HGET', KEYS[3], ARGV[1])
if size then redis.call('HINCRBY', KEYS[3], '', -size) end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""


@dataclass(frozen=True, slots=True)
class StoredState:
    """What is known of a state beside its numbers; times are seconds since 1970."""

    id: str
    model: str
    bundle: BundleReference
    tokens: int
    created_at: int
    expires_at: int
    bytes: int


class TextStates:
    """The states of all tenants, at most ``bound`` bytes of each, ``seconds`` after their use.

    Every method raises BrokerUnavailable where Redis does not answer.
    """

    def __init__(self, connection: redis.Redis, *, seconds: int, bound: int) -> None:
        self._redis = connection
        self._seconds = seconds
        self._bound = bound
        self._add = connection.register_script(_ADD)
        self._use = connection.register_script(_USE)
        self._delete = connection.register_script(_DELETE)
        self._forget = connection.register_script(_FORGET)

    @property
    def allowed(self) -> bool:
        """Whether this service keeps states."""
        return self._bound > 0

    def check_allowed(self) -> None:
        """InvalidOption where this service keeps no states."""
        if not self.allowed:
            raise InvalidOption(
                "This service keeps no states (TEXTGEN_TENANT_STATE_BYTES is 0). Leave out "
                "'return_state' and send the whole text each time.",
                code="states_off",
                param="return_state",
            )

    def add(self, tenant: str, model: str, bundle: BundleReference, packed: str) -> str:
        """Keep a packed state; its id.

        InvalidOption ``states_off`` for one that is larger than all that a tenant may have.
        """
        if len(packed) > self._bound:
            raise InvalidOption(
                f"A state of this model takes {len(packed):,} bytes, and a tenant may have "
                f"{self._bound:,} (TEXTGEN_TENANT_STATE_BYTES). Leave out 'return_state' and send "
                "the whole text each time.",
                code="states_off",
                param="return_state",
            )
        state_id = new_id(PREFIX)
        fields = {
            "model": model,
            "artifact": bundle.artifact,
            "file": bundle.file,
            "tokens": json.loads(packed)["tokens"],
            "bytes": len(packed),
            "packed": packed,
        }
        pairs = [part for pair in fields.items() for part in pair]
        _, index, sizes = _keys(tenant, "")
        prefix = _keys(tenant, "")[0]
        arguments = [prefix, state_id, len(packed), self._seconds, self._bound, *pairs]
        _answered(self._add, keys=[index, sizes], args=arguments)
        return state_id

    def use(self, tenant: str, state_id: str, model: str, bundle: BundleReference) -> str:
        """The packed state to go on from with this model; it stays for a while longer.

        Raises NotFound, and InvalidOption ``state_of_another_model``.
        """
        _check_form(state_id)
        args = [state_id, self._seconds]
        found = _answered(self._use, keys=_keys(tenant, state_id), args=args)
        fields = dict(zip(found[::2], found[1::2], strict=True))
        if not fields:
            raise not_found(state_id)
        if (fields["artifact"], fields["file"]) != (bundle.artifact, bundle.file):
            raise another_model(fields["model"], model)
        return str(fields["packed"])

    def get(self, tenant: str, state_id: str) -> StoredState:
        """What is known of a state; raises NotFound."""
        _check_form(state_id)
        [found] = self._read(tenant, [state_id])
        if found is None:
            raise not_found(state_id)
        return found

    def of_tenant(self, tenant: str) -> list[StoredState]:
        """A tenant's states, the newest first."""
        _, index, _ = _keys(tenant, "")
        ids: list[str] = _answered(self._redis.zrange, index, 0, -1)
        found = self._read(tenant, sorted(ids, reverse=True))
        return [each for each in found if each is not None]

    def delete(self, tenant: str, state_id: str) -> None:
        """Forget a state; raises NotFound."""
        _check_form(state_id)
        if not _answered(self._delete, keys=_keys(tenant, state_id), args=[state_id]):
            raise not_found(state_id)

    def forget(self, tenant: str, artifact: str = "") -> int:
        """Delete what goes on from a deleted model's artifact, or all states of a deleted tenant.

        Returns how many went. An answer that is being written may still leave one, for its hour.
        """
        prefix, index, sizes = _keys(tenant, "")
        return int(_answered(self._forget, keys=[index, sizes], args=[prefix, artifact]))

    def _read(self, tenant: str, ids: Sequence[str]) -> list[StoredState | None]:
        with self._redis.pipeline(transaction=False) as pipe:
            for state_id in ids:
                pipe.hmget(_keys(tenant, state_id)[0], *FIELDS)
            rows = _answered(pipe.execute)
        return [
            None if row[0] is None else _stored(state_id, row)
            for state_id, row in zip(ids, rows, strict=True)
        ]


def not_found(state_id: str) -> NotFound:
    """The error for a state that is not there, whatever the reason."""
    return NotFound(
        f"There is no state {state_id!r}: it was not used for too long, made room for newer ones, "
        "was deleted, or never existed. Send the whole text instead; the answer is the same.",
        code="state_not_found",
        param="state_id",
    )


def another_model(made_with: str, wanted: str) -> InvalidOption:
    """The error for a state of a model that is not the one that was asked, or no more."""
    return InvalidOption(
        f"'state_id' is of a text of {made_with!r} as it was then, and {wanted!r} has other "
        "weights. Send the whole text instead.",
        code="state_of_another_model",
        param="state_id",
    )


def _check_form(state_id: str) -> None:
    """NotFound for what was never given out, before it becomes part of a key."""
    if not _FORM.fullmatch(state_id):
        raise not_found(state_id)


def _stored(state_id: str, row: Sequence[str]) -> StoredState:
    model, artifact, file, tokens, created, expires, size = row
    bundle = BundleReference(artifact=artifact, file=file)
    return StoredState(state_id, model, bundle, int(tokens), int(created), int(expires), int(size))


def states_prefixes() -> list[str]:
    """What the keys of states begin with, before the tenant."""
    return ["textgen:state:", "textgen:states:", "textgen:state-sizes:"]


def _keys(tenant: str, state_id: str) -> list[str]:
    """The keys of a state, of the tenant's index, and of its sizes."""
    return [
        f"textgen:state:{tenant}:{state_id}",
        f"textgen:states:{tenant}",
        f"textgen:state-sizes:{tenant}",
    ]


def _answered(call: Any, *positional: Any, **named: Any) -> Any:
    try:
        return call(*positional, **named)
    except (redis.RedisError, OSError) as error:
        raise BrokerUnavailable(
            f"The states of texts are out of reach: Redis does not answer ({error}). Try again "
            "shortly, or send the whole text."
        ) from error
