"""Connections of a kernel to the Redis of the channel."""

from __future__ import annotations

from redis import exceptions as errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gnomon_celery.config import CeleryConfig

READ_BLOCK_S = 1.0
"""How long a read of the stream waits for the next entry."""
AWAY = (errors.RedisError, OSError)
"""What redis-py raises where a request could not be carried out; TimeoutError is an OSError."""


def open_redis(config: CeleryConfig) -> Redis:
    """Return a client of the channel, which connects on first use; the caller decides about retries."""
    timeout = config.timeout.total_seconds()
    return Redis.from_url(
        config.channel_url,
        socket_timeout=timeout + READ_BLOCK_S,
        socket_connect_timeout=timeout,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        client_name="gnomon",
    )
