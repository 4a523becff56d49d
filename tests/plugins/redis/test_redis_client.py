"""Other programs read: one record, one run to its end, a job; across restarts of the server, over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AuthenticationError

from gnomon import Context, Job, Kernel
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.testing import make_kernel
from gnomon_redis import ProgressRecord, RedisPlugin
from gnomon_redis.client import AsyncProgressClient, ProgressClient, ProgressGoneError
from gnomon_redis.following import FollowState
from gnomon_redis.progress_record import encode

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


def real_kernel(server: Any, *jobs: Any, **settings: Any) -> Kernel:
    given: dict[str, Any] = {"url": Secret(server.url), "timeout": Duration(seconds=30), **settings}
    return make_kernel(*jobs, plugins=[RedisPlugin(RedisPlugin.Config(**given))], clock=SystemClock())


async def counts(context: Context, items: int = 30) -> None:
    context.step("count")
    for _ in context.track(range(items)):
        await asyncio.sleep(0.05)


COUNTS = Job(id="counts", func=counts, overlap="allow")

AT = datetime(2026, 12, 1, tzinfo=UTC)
BLANK: dict[str, Any] = dict.fromkeys(set(ProgressRecord.__struct_fields__) - {"version"}) | {
    **dict.fromkeys(("execution_id", "job_id", "job_name", "node"), "run"),
    "status": "running",
    "at": AT,
    "scheduled_time": AT,
    "steps": (),
    "elapsed": 0.0,
    "attempt": 1,
    **dict.fromkeys(("cancel_requested", "is_manual"), False),
}

FOLLOWER = """
import sys
from gnomon_redis.client import ProgressClient
with ProgressClient(sys.argv[1]) as client:
    for record in client.follow(sys.argv[2]):
        print(record.status, record.version, record.processed_items, flush=True)
"""


async def test_another_process_follows_a_run_live_to_its_end(server: Any) -> None:
    enough = asyncio.Event()

    async def endless(context: Context) -> None:
        number = 0
        while not enough.is_set():
            number += 1
            context.progress(processed_items=number)
            await asyncio.sleep(0.05)
        context.progress(processed_items=-1)

    async with real_kernel(server, endless) as kernel:
        execution = (await kernel.trigger("endless")).execution
        command = [sys.executable, "-c", FOLLOWER, server.url, execution.id]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        lines = [await process.stdout.readline() for _ in range(4)]  # while the run is active
        enough.set()
        rest, _ = await process.communicate()
        ended = await kernel.wait(execution.id)

    told = [line.decode().split() for line in (*lines, *rest.splitlines())]
    versions = [int(version) for _, version, _ in told]
    assert process.returncode == 0
    assert versions == sorted(set(versions))
    assert {status for status, _, _ in told[:4]} == {"running"}
    assert told[-1] == ["success", str(ended.version), "-1"]


async def test_whoever_comes_after_the_end_gets_the_end(server: Any) -> None:
    async with real_kernel(server, COUNTS) as kernel:
        ended = await kernel.wait((await kernel.trigger("counts", kwargs={"items": 1})).execution.id)
    with ProgressClient(server.url) as client:
        records = await asyncio.to_thread(lambda: list(client.follow(ended.id)))
        found = client.get(ended.id)
        assert client.get("0" * 24) is None
        assert client.live("counts") == []
    assert [record.status for record in records] == ["success"]
    assert records == [found]


async def test_whoever_comes_before_the_first_record_gets_it_all(
    server: Any, redis: Any, eventually: Eventually
) -> None:
    from gnomon.domain.execution import manual_execution_id

    go_on = asyncio.Event()

    async def waits() -> None:
        await go_on.wait()

    execution_id = manual_execution_id("waits", SystemClock().now(), "a key")
    name = f"progress:{execution_id}"

    async def is_followed() -> bool:
        return bool(await redis.pubsub_numsub(name) == [(name.encode(), 1)])

    async with real_kernel(server, waits) as kernel, AsyncProgressClient(server.url) as client:
        following = client.follow(execution_id)
        coming = asyncio.ensure_future(anext(following))
        await eventually(is_followed)
        await kernel.trigger("waits", idempotency_key="a key")
        async with asyncio.timeout(60):
            first = await coming
            go_on.set()
            records = await _all(following)
    assert first.status in {"scheduled", "running"}
    assert records[-1].status == "success"


async def _all(records: AsyncIterator[ProgressRecord]) -> list[ProgressRecord]:
    return [record async for record in records]


async def test_a_follower_outlives_a_restart_of_the_server(server: Any) -> None:
    go_on = asyncio.Event()

    async def waits(context: Context) -> None:
        context.progress(10)
        await go_on.wait()

    async with real_kernel(server, waits) as kernel, AsyncProgressClient(server.url, timeout=5) as client:
        execution = (await kernel.trigger("waits")).execution
        following = client.follow(execution.id)
        while (await anext(following)).percent != 10:
            pass
        rest = asyncio.create_task(_all(following))
        server.kill()
        await asyncio.sleep(0.5)
        server.start()
        go_on.set()
        await kernel.wait(execution.id)
        async with asyncio.timeout(60):
            records = await rest
    assert records[-1].status == "success"


async def test_a_run_that_nobody_knows_is_said_to_be_gone(server: Any) -> None:
    async with AsyncProgressClient(server.url, timeout=3) as client:
        with pytest.raises(ProgressGoneError, match="its id or the prefix is wrong"):
            await _all(client.follow("0" * 24, patience=0.5))
    with ProgressClient(server.url, timeout=3) as blocking, pytest.raises(ProgressGoneError):
        await asyncio.to_thread(lambda: list(blocking.follow("0" * 24, patience=0.5)))


async def test_a_wrong_password_is_told_at_once(server: Any) -> None:
    url = server.url.replace("://", "://ann:wrong@")
    async with AsyncProgressClient(url) as client:
        with pytest.raises(AuthenticationError):
            await _all(client.follow("0" * 24))
        with pytest.raises(AuthenticationError):
            await _all(client.follow_job("counts"))
    with ProgressClient(url) as blocking:
        with pytest.raises(AuthenticationError):
            await asyncio.to_thread(lambda: list(blocking.follow("0" * 24)))
        with pytest.raises(AuthenticationError):
            await asyncio.to_thread(lambda: list(blocking.follow_job("counts")))


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_job_is_followed_from_what_runs_now_through_all_that_follow(
    server: Any, eventually: Eventually, kind: str
) -> None:
    go_on = asyncio.Event()

    async def waits(context: Context) -> None:
        context.progress(10)
        await go_on.wait()

    job = Job(id="waits", func=waits, overlap="allow")
    records: list[ProgressRecord] = []
    expected = 5
    async with real_kernel(server, job) as kernel:
        first = [(await kernel.trigger("waits")).execution.id for _ in range(2)]
        async with AsyncProgressClient(server.url, timeout=5) as client:

            async def all_are_live() -> bool:
                return sorted(record.execution_id for record in await client.live("waits")) == sorted(first)

            await eventually(all_are_live)

            async def follow() -> None:
                async for record in client.follow_job("waits"):
                    records.append(record)
                    if len({one.execution_id for one in records if one.is_over}) == expected:
                        return

            def follow_in_thread() -> None:
                with ProgressClient(server.url, timeout=5) as blocking:
                    for record in blocking.follow_job("waits"):
                        records.append(record)
                        if len({one.execution_id for one in records if one.is_over}) == expected:
                            return

            coroutine = follow() if kind == "async" else asyncio.to_thread(follow_in_thread)
            following = asyncio.create_task(coroutine)
            await eventually(lambda: len(records) >= 2)
            assert sorted(record.execution_id for record in records[:2]) == sorted(first)
            later = [(await kernel.trigger("waits")).execution.id for _ in range(3)]
            go_on.set()
            async with asyncio.timeout(60):
                await following
    for execution_id in first + later:
        mine = [record for record in records if record.execution_id == execution_id]
        assert mine[-1].status == "success"
        assert [record.age for record in mine] == sorted({record.age for record in mine})


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_reader_that_is_too_slow_for_the_stream_is_told_and_misses_no_end(
    server: Any, redis: Any, eventually: Eventually, kind: str
) -> None:
    async def quick() -> None: ...

    resets: list[str] = []
    settings = RedisPlugin.Config(url=Secret(server.url), timeout=Duration(seconds=30), stream_length=10)
    job = Job(id="quick", func=quick, overlap="allow")
    async with make_kernel(job, plugins=[RedisPlugin(settings)], clock=SystemClock()) as kernel:
        client: Any = ProgressClient(server.url) if kind == "sync" else AsyncProgressClient(server.url)
        records = client.follow_job("quick", on_reset=lambda: resets.append(kind))

        async def read() -> ProgressRecord:
            record: ProgressRecord = await (asyncio.to_thread(next, records) if kind == "sync" else anext(records))
            return record

        async def run_one() -> str:
            return (await kernel.wait((await kernel.trigger("quick")).execution.id)).id

        first = asyncio.ensure_future(read())
        while not first.done():
            await run_one()
            await asyncio.sleep(0.05)
        runs = {await run_one() for _ in range(300)}
        await eventually(lambda: redis.exists(*(f"progress:{run}" for run in runs)))
        await eventually(lambda: kernel.is_idle)
        ended: set[str] = set()
        async with asyncio.timeout(60):
            while not runs <= ended:
                record = await read()
                ended |= {record.execution_id} if record.is_over else set()
        await (asyncio.to_thread(client._redis.close) if kind == "sync" else client._redis.aclose())
    assert resets


async def test_a_reader_needs_only_a_few_permissions(server: Any, redis: Any, eventually: Eventually) -> None:
    few = "+@connection +get +mget +smembers +xread +xrevrange +zrange +subscribe +unsubscribe"  # as in docs/how-to
    await redis.execute_command(f"ACL SETUSER ron on >topsecret ~progress:* &progress:* {few}")
    client = AsyncProgressClient(server.url.replace("://", "://ron:topsecret@"))

    async def is_following() -> bool:
        return any(one["cmd"] == "xread" for one in await redis.client_list())

    async with real_kernel(server, COUNTS) as kernel, client:
        first = (await kernel.trigger("counts", kwargs={"items": 10})).execution
        assert (await _all(client.follow(first.id)))[-1].status == "success"
        assert await client.live("counts") == []
        coming = asyncio.ensure_future(anext(client.follow_job("counts")))
        await eventually(is_following)
        second = (await kernel.trigger("counts", kwargs={"items": 1})).execution
        assert (await coming).execution_id == second.id


# TLS


@pytest.fixture
async def tls(server: Any, tmp_path: Path) -> AsyncIterator[str]:
    """Provide the URL of something that speaks TLS in front of the server."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += [
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(tmp_path / "key"),
        "-out",
        str(tmp_path / "ca"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca", tmp_path / "key")
    ends: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        ends.extend((writer, back))
        await asyncio.gather(pump(reader, back), pump(there, writer))

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    yield f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca'}"
    listening.close()
    for end in ends:
        end.close()
        with contextlib.suppress(OSError):
            await end.wait_closed()


async def test_tracker_and_client_speak_tls_and_look_at_the_certificate(
    server: Any, tls: str, redis: Any, eventually: Eventually
) -> None:
    async with real_kernel(server, COUNTS, url=Secret(tls)) as kernel:
        ended = await kernel.wait((await kernel.trigger("counts", kwargs={"items": 1})).execution.id)
        async with AsyncProgressClient(tls) as client:
            assert [record.status for record in await _all(client.follow(ended.id))][-1] == "success"
        assert kernel.health().plugins[0].state == "healthy"
    distrustful = Secret(tls.partition("?")[0])
    async with real_kernel(server, COUNTS, url=distrustful) as kernel:
        await kernel.trigger("counts", kwargs={"items": 1})
        await eventually(lambda: kernel.health().plugins[0].state == "degraded")
        assert "certificate" in (kernel.health().plugins[0].problem or "").lower()


def test_a_following_reads_on_after_the_last_entry_and_tells_each_state_once() -> None:
    def entry(number: bytes, version: int) -> tuple[bytes, dict[bytes, bytes]]:
        record = ProgressRecord(**BLANK, version=version)
        return number, {b"progress": encode(record)}

    following = FollowState(patience=60.0)
    following.begin([], [])
    assert following.last == b"0-0"

    texts = following.entries([[b"the stream", [entry(b"5-0", 1), entry(b"7-0", 2)]]])
    assert [record.version for record in following.new_records([*texts, *texts, None])] == [1, 2]
    assert (following.last, following.unfinished) == (b"7-0", {"run"})

    assert following.entries([]) == []
    assert following.last == b"7-0"
