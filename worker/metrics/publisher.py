"""The thread of a worker that publishes its figures through Redis, each second.

They lie there as one text under a key that expires, so a worker that is gone, or cannot reach
Redis, has none. A Redis that is away costs the figures of that time and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis

from worker.redis_keys import metrics_key
from worker.repeating import repeating

LOG = logging.getLogger(__name__)

PUBLISH_SECONDS = 1.0
EXPIRY_SECONDS = 10


@contextmanager
def publishing(
    connection: redis.Redis,
    worker: str,
    text: Callable[[], str],
    look: Callable[[], bool] | None = None,
    *,
    seconds: float = PUBLISH_SECONDS,
) -> Iterator[None]:
    """Publish ``text`` until the block ends; ``look`` comes first and says whether it consumes."""
    consumed = True

    def publish() -> None:
        nonlocal consumed
        try:
            if look is not None:
                consumes = look()
                if consumed and not consumes:
                    LOG.error("messages wait in Redis, and this worker takes none of them")
                consumed = consumes
            connection.set(metrics_key(worker), text(), ex=EXPIRY_SECONDS)
        except (redis.RedisError, OSError):
            pass  # whoever needs Redis for more than figures says so
        except Exception:
            LOG.exception("the figures could not be published; it is tried again")

    with repeating("metrics", publish, seconds):
        yield
