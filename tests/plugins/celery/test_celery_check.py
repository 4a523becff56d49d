"""`gnomon check --connect`: what it says about a broker and a channel."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from celery_kernels import settings
from gnomon.conversion import Secret
from gnomon_celery import CeleryPlugin
from gnomon_celery.problems import CeleryServerError
from scripted_worker import ScriptedWorker
from servers import RedisServer


async def checked(url: str, **keys: Any) -> str:
    return await CeleryPlugin(settings(url, **keys)).try_connection()


async def test_it_names_versions_workers_and_queues(idle_server: RedisServer) -> None:
    idle_server.start("--appendonly", "yes")
    async with Redis.from_url(idle_server.url) as redis:
        before = await redis.dbsize()
        found = await checked(idle_server.url)
        assert found.startswith(
            f"broker redis://127.0.0.1:{idle_server.port}/0 accepts connections (redis); channel Redis "
        )
        assert found.endswith("accepts reports; 0 workers")
        assert await redis.dbsize() == before  # nothing is left
        for name, queue in (("a@test", "reports"), ("b@test", "mails")):
            await ScriptedWorker(redis, name, queue).announce()
        assert (await checked(idle_server.url)).endswith("2 workers for the queues mails, reports")


async def test_it_warns_about_a_redis_that_keeps_nothing(server: RedisServer, redis: Redis) -> None:
    await redis.config_set("maxmemory", "100mb")
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    found = await checked(server.url)
    assert "loses what workers reported when it restarts (appendonly is off)" in found
    assert "may evict claims and results when it is full (maxmemory-policy is allkeys-lru)" in found


async def test_a_broker_that_is_away(idle_server: RedisServer) -> None:
    with pytest.raises(CeleryServerError, match=r"the broker redis://127.0.0.1:.* cannot be reached"):
        await checked(idle_server.url)


async def test_a_channel_that_is_away(server: RedisServer) -> None:
    with pytest.raises(CeleryServerError, match=r"the channel from the workers, Redis at redis://127.0.0.1:1, cannot"):
        await checked(server.url, channel=Secret("redis://:pa55@127.0.0.1:1"))


async def test_a_wrong_password_is_not_shown(idle_server: RedisServer) -> None:
    idle_server.start("--requirepass", "right")
    with pytest.raises(CeleryServerError, match="rejects the user or the password: check `broker`") as refused:
        await checked(f"redis://:wr0ng@127.0.0.1:{idle_server.port}/0")
    assert "wr0ng" not in str(refused.value)


async def test_a_user_that_may_not_use_the_keys(server: RedisServer, redis: Redis) -> None:
    await redis.acl_setuser("some", enabled=True, passwords=["+pa55"], keys=["other*"], categories=["+@all"])
    channel = Secret(f"redis://some:pa55@127.0.0.1:{server.port}/0")
    with pytest.raises(CeleryServerError, match="does not permit this"):
        await checked(server.url, channel=channel)
