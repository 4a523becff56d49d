"""The check of `gnomon check --connect`: the broker, the channel, and whether both keep what they are given."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

from gnomon.threads import in_thread
from gnomon_celery.celery_app import make_app
from gnomon_celery.channel import BEGIN, LOOK, Channel
from gnomon_celery.config import CeleryConfig
from gnomon_celery.connection import AWAY, open_redis
from gnomon_celery.problems import CeleryServerError, broker_problem, channel_problem
from gnomon_celery.roster import list_workers, takers
from gnomon_celery.sending import connect
from gnomon_celery.watch import HEARTBEATS

CHECK_LOG = "check"
"""Stands for the id of a log. Its keys are deleted at once."""
OLDEST = (6, 2)
"""The oldest version of Redis that was tried."""


async def check_connection(config: CeleryConfig) -> str:
    """Connect to both, try what a run does with the channel, and count the workers; raise CeleryServerError."""
    broker = await in_thread(lambda: _check_broker(config), "gnomon celery check")
    try:
        async with open_redis(config) as redis:
            channel = await _check_channel(redis, config)
            workers = await list_workers(redis, config.prefix, HEARTBEATS * config.heartbeat.total_seconds())
    except AWAY as exc:
        raise CeleryServerError(channel_problem(exc, config)) from None  # the cause may contain the password
    queues = takers(workers)
    there = sum(one.takes for one in workers)
    found = f"{there} {'worker' if there == 1 else 'workers'}"
    if queues:
        found += f" for the {'queue' if len(queues) == 1 else 'queues'} {', '.join(sorted(queues))}"
    return f"{broker}; {channel}; {found}"


def _check_broker(config: CeleryConfig) -> str:
    app = make_app(config, sends_only=True)
    try:
        with connect(app) as connection:
            return f"broker {config.broker_address} accepts connections ({connection.transport.driver_type})"
    except Exception as exc:  # noqa: BLE001 - drivers of brokers raise what they like
        raise CeleryServerError(broker_problem(exc, config)) from None  # the cause may contain the password


async def _check_channel(redis: Redis, config: CeleryConfig) -> str:
    info: Any = await redis.info()
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise CeleryServerError(f"Redis at {config.channel_address} is version {version}; {needed} or newer is needed")
    await _try_scripts(redis, Channel.of_log(config.prefix, CHECK_LOG))
    text = f"channel Redis {version} at {config.channel_address} accepts reports"
    warnings = _warnings(info)
    return f"{text}, but {' and '.join(warnings)}" if warnings else text


async def _try_scripts(redis: Redis, channel: Channel) -> None:
    """Run the scripts of a claim and of a look at heartbeats on keys of no log, and delete those."""
    keys = [channel.claim(CHECK_LOG), channel.stream, channel.alive]
    begin: Any = redis.register_script(BEGIN)
    look: Any = redis.register_script(LOOK)
    try:
        async with asyncio.timeout(30):
            await begin(keys=keys, args=["check check", 10, CHECK_LOG, "[]", 10])
            await look(keys=[channel.alive], args=[CHECK_LOG])
    finally:
        await redis.delete(*keys)


def _warnings(info: dict[str, Any]) -> list[str]:
    found = []
    if not int(info.get("aof_enabled", 0)):
        found.append("loses what workers reported when it restarts (appendonly is off)")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and int(info.get("maxmemory", 0)):
        found.append(f"may evict claims and results when it is full (maxmemory-policy is {policy})")
    return found
