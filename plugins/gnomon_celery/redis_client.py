"""The worker's connections to the Redis of the channel, and the scripts that it runs there."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

ERRORS = (RedisError, OSError)
"""What a request to Redis raises."""


def connect(url: str, timeout: float) -> redis.Redis:
    """Return a client for several threads, which connects on first use; `timeout` limits each request, in seconds."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),  # the caller decides about retries
        client_name="gnomon-worker",
    )


def run_script(client: redis.Redis, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
    """Run a script by its digest; the text is sent where the server does not have it yet."""
    digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
    try:
        return client.evalsha(digest, len(keys), *keys, *arguments)
    except NoScriptError:
        return client.eval(script, len(keys), *keys, *arguments)
