"""What `gnomon check --connect` tells: which server is there, and whether it would take what the tracker writes."""

from __future__ import annotations

import asyncio
from typing import Any

from redis import exceptions as errors
from redis.asyncio import Redis

from gnomon_redis.link import RedisTrouble, address_of, connect, translate
from gnomon_redis.record import Names

NOBODY = "check"
"""In place of the id of an execution, and of a job: nothing is under it, and nothing gets there."""
OLDEST = (6, 2)
"""The first version whose SET can do without overwriting what is no text."""


async def try_connection(url: str, names: Names, timeout: float) -> str:
    """Log in, ask for the version, and try each kind of write on nothing; RedisTrouble says what is wrong."""
    address = address_of(url)
    try:
        async with asyncio.timeout(timeout), connect(url, timeout) as client:
            version = await _version(client)
            await _write_nothing(client, names)
    except (errors.RedisError, OSError, ValueError) as exc:
        raise translate(exc, address, names.prefix) from None  # what it came from may hold the password
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise RedisTrouble("version", f"Redis at {address} is {version}; the tracker needs 6.2 or newer")
    return f"Redis {version} at {address} takes what is written to {names.prefix}*"


async def _version(client: Redis) -> str:
    told: Any = await client.execute_command("HELLO")  # type: ignore[no-untyped-call]
    found = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
    return str(found[b"version"].decode())


async def _write_nothing(client: Redis, names: Names) -> None:
    key, stream, live = names.execution(NOBODY), names.stream(NOBODY), names.live(NOBODY)
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.set(key, "", px=1000, xx=True, get=True)
        pipeline.srem(live, NOBODY)
        pipeline.pexpire(live, 1000)
        pipeline.xadd(stream, {"progress": ""}, maxlen=1, nomkstream=True)
        pipeline.publish(key, "{}")
        await pipeline.execute()
