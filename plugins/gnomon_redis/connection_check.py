"""The check of `gnomon check --connect`: which server responds, and whether it accepts what the tracker writes."""

from __future__ import annotations

import asyncio
from typing import Any

from redis import exceptions as errors
from redis.asyncio import Redis

from gnomon_redis.connection import RedisServerError, address_of, connect, translate
from gnomon_redis.progress_record import Names

CHECK_ID = "check"
"""Stands for the id of an execution and of a job. No key has this name, and none is created."""
OLDEST = (6, 2)
"""The first version whose SET can return the old value, which keeps it from overwriting other types."""


async def check_connection(url: str, names: Names, timeout: float) -> str:
    """Log in, read the version, and try each kind of write on keys that do not exist; raise RedisServerError."""
    address = address_of(url)
    try:
        async with asyncio.timeout(timeout), connect(url, timeout) as client:
            version = await _version(client)
            await _try_writes(client, names)
    except (errors.RedisError, OSError, ValueError) as exc:
        raise translate(exc, address, names.prefix) from None  # the cause may contain the password
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise RedisServerError("version", f"Redis at {address} is version {version}; the tracker needs 6.2 or newer")
    return f"Redis {version} at {address} accepts writes to {names.prefix}*"


async def _version(client: Redis) -> str:
    reply: Any = await client.execute_command("HELLO")  # type: ignore[no-untyped-call]
    found = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    return str(found[b"version"].decode())


async def _try_writes(client: Redis, names: Names) -> None:
    key, stream, live = names.execution(CHECK_ID), names.stream(CHECK_ID), names.live(CHECK_ID)
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.set(key, "", px=1000, xx=True, get=True)
        pipeline.srem(live, CHECK_ID)
        pipeline.zremrangebyscore(names.ended(CHECK_ID), "-inf", 0)
        pipeline.zadd(names.ended(CHECK_ID), {CHECK_ID: 0}, xx=True)
        pipeline.pexpire(live, 1000)
        pipeline.xadd(stream, {"progress": ""}, maxlen=1, nomkstream=True)
        pipeline.publish(key, "{}")
        await pipeline.execute()
