"""Redis killed, restarted and frozen under load: runs do not notice, and afterwards every key is right."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Context, Execution, Job, Kernel
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.testing import make_kernel
from gnomon_redis import RedisPlugin
from gnomon_redis.progress_record import decode, record_of

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]
TIMED = {"at", "elapsed", "remaining", "estimated_total", "ended_at"}


def real_kernel(server: Any, *jobs: Any, **settings: Any) -> Kernel:
    given: dict[str, Any] = {"url": Secret(server.url), "timeout": Duration(seconds=30), **settings}
    return make_kernel(*jobs, plugins=[RedisPlugin(RedisPlugin.Config(**given))], clock=SystemClock())


def health(kernel: Kernel) -> Any:
    (found,) = kernel.health().plugins
    return found


async def busy(context: Context, steps: int = 3, items: int = 20) -> int:
    for number in range(steps):
        context.step(f"step {number}")
        for _ in context.track(range(items)):
            await asyncio.sleep(0.005)
    return steps


BUSY = Job(id="busy", func=busy, overlap="allow")


def untimed(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__ if name not in TIMED}


async def wrong_keys(redis: Any, executions: list[Execution]) -> list[str]:
    """Compare every key with the fold."""
    texts = await redis.mget([f"progress:{execution.id}" for execution in executions])
    wrong = []
    for execution, text in zip(executions, texts, strict=True):
        expected = record_of(execution, _no_timing(), execution.updated_at, execution.updated_at)
        if text is None or untimed(decode(text)) != untimed(expected):
            wrong.append(execution.id)
    return wrong


def _no_timing() -> Any:
    from gnomon.domain.estimates import Timing

    return Timing(0.0, None, None)


async def is_gone(redis: Any, key: str) -> bool:
    return not await redis.exists(key)


async def load(kernel: Kernel, until: asyncio.Event) -> list[Execution]:
    """Run job after job, ten at a time; each must succeed."""
    ended: list[Execution] = []

    async def lane() -> None:
        while not until.is_set():
            execution = await kernel.wait((await kernel.trigger("busy")).execution.id)
            assert execution.status == "success"
            ended.append(execution)

    async with asyncio.TaskGroup() as lanes:
        for _ in range(10):
            lanes.create_task(lane())
    return ended


def warnings(logs: list[Any]) -> list[str]:
    """Return what was warned about, but for the kernel's own health, which is that of the machine."""
    return [line["event"] for line in logs if line["log_level"] == "warning" and "component" not in line]


async def test_redis_killed_and_restarted_and_frozen_under_load_leaves_runs_alone_and_keys_right(
    server: Any, redis: Any, eventually: Eventually
) -> None:
    enough = asyncio.Event()
    with capture_logs() as logs:
        async with real_kernel(server, BUSY, timeout=Duration(seconds=5)) as kernel:
            loading = asyncio.create_task(load(kernel, enough))
            for _ in range(4):
                await asyncio.sleep(0.7)
                server.kill()
                await eventually(lambda: health(kernel).state == "degraded")
                await asyncio.sleep(0.5)
                server.start()
                await eventually(lambda: health(kernel).state == "healthy")
            server.send(signal.SIGSTOP)
            await eventually(lambda: health(kernel).state == "degraded")
            await asyncio.sleep(2)
            assert "does not respond in time" in health(kernel).problem
            server.send(signal.SIGCONT)
            await eventually(lambda: health(kernel).state == "healthy")
            enough.set()
            ended = await loading

            async def all_is_right() -> bool:
                return not await wrong_keys(redis, ended)

            await eventually(all_is_right)
            await eventually(lambda: is_gone(redis, "progress:live:busy"))
            assert health(kernel).failures == 0
    assert len(ended) > 50
    told = [line["event"] for line in logs if line["event"].startswith("progress")]
    # Once for each outage, not for each try; a busy machine may make one of its own.
    assert told == ["progress cannot be written now", "progress is written again"] * (len(told) // 2)
    assert len(told) // 2 >= 5


async def test_what_lives_and_what_ended_is_written_again_after_a_restart_without_any_news(
    server: Any, redis: Any, eventually: Eventually
) -> None:
    go_on = asyncio.Event()

    async def silent() -> None:
        await go_on.wait()

    async def quick() -> None: ...

    async with real_kernel(server, silent, quick, live_ttl=Duration(seconds=6)) as kernel:
        ended = await kernel.wait((await kernel.trigger("quick")).execution.id)
        alive = (await kernel.trigger("silent")).execution
        keys = [f"progress:{one.id}" for one in (ended, alive)]

        async def are_there() -> bool:
            return bool(await redis.exists(*keys) == 2)

        await eventually(are_there)
        server.kill()
        server.start()
        await eventually(are_there)
        assert await redis.smembers("progress:live:silent") == {alive.id.encode()}
        go_on.set()
        await kernel.wait(alive.id)


async def test_a_kernel_starts_and_runs_and_stops_where_redis_is_away(idle_server: Any, eventually: Eventually) -> None:
    with capture_logs() as logs:
        async with real_kernel(idle_server, BUSY) as kernel:
            executions = [
                await kernel.wait((await kernel.trigger("busy", kwargs={"items": 1})).execution.id) for _ in range(5)
            ]
            await eventually(lambda: health(kernel).state == "degraded")
            await asyncio.sleep(1)
    assert [one.status for one in executions] == ["success"] * 5
    (told,) = [line for line in logs if line["event"] == "progress cannot be written now"]
    assert f"Redis at 127.0.0.1:{idle_server.port}/0 cannot be reached" in told["problem"]
    assert warnings(logs) == ["progress was not written"]


async def test_what_was_not_written_before_a_stop_is_written_by_the_next_kernel(
    server: Any, idle_server: Any, redis: Any, eventually: Eventually
) -> None:
    async with real_kernel(server, BUSY) as kernel:
        first = await kernel.wait((await kernel.trigger("busy", kwargs={"items": 1})).execution.id)
        store = kernel._store
        (plugin,) = kernel.plugins
        await eventually(lambda: plugin.object._backfill._has_caught_up)  # before that it does not keep how far it came
    server.kill()
    short = RedisPlugin(RedisPlugin.Config(url=Secret(server.url), timeout=Duration(milliseconds=200)))
    async with make_kernel(BUSY, plugins=[short], clock=SystemClock(), store=store) as kernel:
        second = await kernel.wait((await kernel.trigger("busy", kwargs={"items": 1})).execution.id)
    server.start()
    long = RedisPlugin(RedisPlugin.Config(url=Secret(server.url), timeout=Duration(seconds=30)))
    async with make_kernel(BUSY, plugins=[long], clock=SystemClock(), store=store):

        async def is_there() -> bool:
            return not await wrong_keys(redis, [first, second])  # the server has lost the first one

        await eventually(is_there)


async def test_redis_and_the_kernel_restarted_together_lose_no_end(
    server: Any, redis: Any, eventually: Eventually
) -> None:
    async def quick() -> None: ...

    job = Job(id="quick", func=quick, overlap="allow")
    async with real_kernel(server, job) as kernel:
        ended = [await kernel.wait((await kernel.trigger("quick")).execution.id) for _ in range(60)]
        store = kernel._store
        await eventually(partial(_all_right, redis, ended))
        (plugin,) = kernel.plugins
        await eventually(lambda: plugin.object._backfill._has_caught_up)
    server.kill()
    server.start()
    assert await redis.dbsize() == 0
    again = RedisPlugin(RedisPlugin.Config(url=Secret(server.url), timeout=Duration(seconds=30)))
    with capture_logs() as logs:
        async with make_kernel(job, plugins=[again], clock=SystemClock(), store=store):
            await eventually(partial(_all_right, redis, ended))
    assert warnings(logs) == ["Redis has lost records, they are written again"]


async def test_an_older_redis_is_recognized_while_the_kernel_runs(
    server: Any, redis: Any, eventually: Eventually
) -> None:
    async def quick() -> None: ...

    job = Job(id="quick", func=quick, overlap="allow")
    async with real_kernel(server, job, live_ttl=Duration(seconds=1)) as kernel:
        first = await kernel.wait((await kernel.trigger("quick")).execution.id)
        await eventually(partial(_all_right, redis, [first]))
        marker = f"progress:log:{kernel.log_id}"
        await eventually(lambda: redis.exists(marker))
        old = await redis.get(marker)
        second = await kernel.wait((await kernel.trigger("quick")).execution.id)
        await eventually(partial(_all_right, redis, [first, second]))

        async def has_moved() -> bool:
            return bool(await redis.get(marker) != old)

        await eventually(has_moved)
        async with redis.pipeline() as snapshot:  # what a server has that was started from an older dump
            snapshot.delete(f"progress:{second.id}")
            snapshot.set(marker, old)
            await snapshot.execute()
        await eventually(partial(_all_right, redis, [first, second]))


async def _all_right(redis: Any, executions: list[Execution]) -> bool:
    return not await wrong_keys(redis, executions)


async def test_more_ends_than_are_kept_in_memory_are_written_again_from_the_log(
    server: Any, redis: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon_redis.backfill.MOST_DUE", 10)

    async def quick() -> None: ...

    job = Job(id="quick", func=quick, overlap="allow")
    async with make_kernel(job, clock=SystemClock()) as kernel:
        ended = [await kernel.wait((await kernel.trigger("quick")).execution.id) for _ in range(120)]
        store = kernel._store
    plugin = RedisPlugin(RedisPlugin.Config(url=Secret(server.url), timeout=Duration(seconds=30)))
    plugin._progress._most_ended = 30
    async with make_kernel(job, plugins=[plugin], clock=SystemClock(), store=store):
        await eventually(partial(_all_right, redis, ended))


# What the server refuses


@pytest.mark.parametrize("kind", ["list under the key", "list under the stream", "list under the set"])
async def test_something_else_under_a_name_is_left_alone_told_and_made_good_later(
    server: Any, redis: Any, eventually: Eventually, kind: str
) -> None:
    go_on = asyncio.Event()

    async def waits(context: Context) -> None:
        await go_on.wait()
        context.progress(50, "going")

    async def other() -> None: ...

    with capture_logs() as logs:
        async with real_kernel(server, waits, other, live_ttl=Duration(seconds=3)) as kernel:
            trouble = (await kernel.trigger("waits")).execution
            key = {
                "list under the key": f"progress:{trouble.id}",
                "list under the stream": "progress:job:waits",
                "list under the set": "progress:live:waits",
            }[kind]
            await eventually(lambda: redis.exists(f"progress:{trouble.id}"))
            async with redis.pipeline(transaction=True) as at_once:  # else the tracker renews it in between
                await at_once.delete(key).rpush(key, "theirs").execute()
            go_on.set()
            trouble = await kernel.wait(trouble.id)
            await eventually(lambda: health(kernel).state == "degraded")
            assert f"the key {key!r} does not hold a progress record" in health(kernel).problem
            another = await kernel.wait((await kernel.trigger("other")).execution.id)

            async def other_is_right() -> bool:
                return not await wrong_keys(redis, [another])

            await eventually(other_is_right)
            assert await redis.lrange(key, 0, -1) == [b"theirs"]
            await redis.delete(key)

            async def is_right() -> bool:
                return not await wrong_keys(redis, [trouble])

            await eventually(is_right)
            await eventually(lambda: health(kernel).state == "healthy")
    (told,) = [line for line in logs if line["event"] == "progress of a run cannot be written"]
    assert told["run"] == trouble.id
    assert "delete it, or choose another `prefix`" in told["problem"]


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ("", "rejects the user or the password: check `url`"),
        ("ann:wrong@", "rejects the user or the password: check `url`"),
        ("reader:topsecret@", "does not permit this: grant the user the keys and channels progress:*"),
        (
            "stranger:topsecret@",
            "does not permit this: grant the user the keys and channels progress:*",
        ),
        ("ann:topsecret@", None),
        ("least:topsecret@", None),
    ],
)
async def test_users_passwords_and_permissions(
    server: Any, redis: Any, eventually: Eventually, credentials: str, said: str | None
) -> None:
    await redis.execute_command("ACL SETUSER ann on >topsecret ~progress:* &progress:* +@all -@dangerous -@admin")
    await redis.execute_command("ACL SETUSER reader on >topsecret ~progress:* &progress:* +@read +@connection")
    await redis.execute_command("ACL SETUSER stranger on >topsecret ~other:* &other:* +@all")
    # As docs/how-to/redis.md has it.
    least = "+@connection +set +sadd +srem +pexpire +xadd +publish +zadd +zremrangebyscore"
    await redis.execute_command(f"ACL SETUSER least on >topsecret ~progress:* &progress:* {least}")
    await redis.execute_command("ACL SETUSER default on >topsecret")
    url = Secret(server.url.replace("://", f"://{credentials}"))
    with capture_logs() as logs:
        async with real_kernel(server, BUSY, url=url) as kernel:
            ended = await kernel.wait((await kernel.trigger("busy", kwargs={"items": 1})).execution.id)
            if said is not None:
                await eventually(lambda: health(kernel).state == "degraded")
                assert said in health(kernel).problem
                assert f"127.0.0.1:{server.port}/0" in health(kernel).problem
            else:
                await eventually(lambda: redis.exists(f"progress:{ended.id}"))
                assert health(kernel).state == "healthy"
    assert ended.status == "success"
    told = [line for line in logs if line["event"] == "progress cannot be written now"]
    assert len(told) == (said is not None)
    assert "topsecret" not in repr(logs)
    assert "wrong" not in repr(logs).replace("wrong number", "")


async def test_a_full_server_says_so_and_is_written_when_there_is_room(
    server: Any, redis: Any, eventually: Eventually
) -> None:
    await redis.config_set("maxmemory", "1")
    async with real_kernel(server, BUSY) as kernel:
        ended = await kernel.wait((await kernel.trigger("busy", kwargs={"items": 1})).execution.id)
        await eventually(lambda: health(kernel).state == "degraded")
        assert "is out of memory: raise its maxmemory" in health(kernel).problem
        await redis.config_set("maxmemory", "0")
        await eventually(lambda: redis.exists(f"progress:{ended.id}"))
        await eventually(lambda: health(kernel).state == "healthy")


async def test_a_replica_says_that_it_is_one(server: Any, redis: Any, eventually: Eventually) -> None:
    await redis.replicaof("127.0.0.1", "1")
    async with real_kernel(server, BUSY) as kernel:
        await kernel.wait((await kernel.trigger("busy", kwargs={"items": 1})).execution.id)
        await eventually(lambda: health(kernel).state == "degraded")
        assert "is a read-only replica" in health(kernel).problem
