"""Clients that want to exhaust a server: its file descriptors, and its memory."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon import Event, Scheduled, Started, Succeeded
from gnomon.domain.execution import Execution, execution_id, fold
from gnomon_sqlite import SqliteStore

MEGABYTE = 1024 * 1024
ATTACKERS = 1_100
CONFIG = """
[plugins.sqlite]
path = "gnomon.db"

[plugins.web]
port = 0

[[jobs]]
id = "child"
func = "my_jobs:steps"
runner = "process"

[[jobs]]
id = "anything"
func = "builtins:dict"
overlap = "allow"
"""
JSON_LOG = ("run", "--log-format", "json")


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Raise the limit of the test itself, whose attack opens many sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < ATTACKERS + 500:
        pytest.skip(f"this machine allows {hard} descriptors, fewer than the attack needs")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, ATTACKERS + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def serve(start: Callable[..., Any], folder: Path) -> Callable[..., tuple[Any, str]]:
    def serve(**options: Any) -> tuple[Any, str]:
        (folder / "gnomon.toml").write_text(CONFIG)
        kernel = start(*JSON_LOG, **options)
        url = kernel.wait_for("web is listening")["url"]
        kernel.wait_for("kernel started")
        return kernel, url

    return serve


async def run_to_its_end(client: aiohttp.ClientSession, url: str, job: str) -> dict[str, Any]:
    async with client.post(f"{url}/scheduler/jobs/{job}/trigger", json={}) as answer:
        assert answer.status == 202, await answer.text()
        run = (await answer.json())["_id"]
    async with client.ws_connect(f"{url}/ws/progress/{run}") as ws:
        async for _ in ws:
            pass
    async with client.get(f"{url}/scheduler/executions/{run}") as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def test_idle_connections_do_not_keep_the_kernel_from_running_processes(
    serve: Callable[..., tuple[Any, str]], many_descriptors: None
) -> None:
    kernel, url = serve(descriptors=1024)
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as attack:
        for number in range(ATTACKERS):
            one = attack.enter_context(socket.socket())
            one.settimeout(60)
            one.connect((host, int(port)))
            if number % 3:  # some send nothing, some a part of a request, some a whole one
                with contextlib.suppress(ConnectionError):
                    one.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n" * (number % 3 - 1))
        async with aiohttp.ClientSession() as client:
            runs = [await run_to_its_end(client, url, "child") for _ in range(3)]
            async with client.get(f"{url}/readyz") as ready:
                assert ready.status == 200, await ready.text()
            kernel.process.terminate()
    assert kernel.ends() == 0

    assert [run["status"] for run in runs] == ["success"] * 3, [run["error_message"] for run in runs]
    assert len(kernel.errors) < MEGABYTE


# --- memory ---


def memory_mb(pid: int, what: str) -> float:
    """Return a line of /proc/PID/status in MB: VmRSS now, VmHWM the most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{what}:"))) / 1024


def old_run(number: int, value: Any) -> list[Event]:
    """Return the history of a run with arguments as large as older versions accepted."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    common: dict[str, Any] = {"stream": execution_id("anything", at), "at": at, "node": "old", "job_id": "anything"}
    return [
        Scheduled(position=3 * number + 1, version=1, scheduled_time=at, kwargs={"value": value}, **common),
        Started(position=3 * number + 2, version=2, runner="thread", **common),
        Succeeded(position=3 * number + 3, version=3, execution_time=0.1, return_value="r" * 60_000, **common),
    ]


async def write_old_runs(file: Path, count: int) -> None:
    numbers = [[n] for n in range(MEGABYTE // 9)]  # a megabyte as JSON, many as objects
    async with SqliteStore(file) as store:
        for number in range(count):
            events = old_run(number, numbers if number % 2 else "x" * MEGABYTE)
            views: list[Execution] = [fold(events)]
            await store.append(events, views, [])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_large_arguments_do_not_fill_the_memory_of_the_server(
    serve: Callable[..., tuple[Any, str]], folder: Path
) -> None:
    await write_old_runs(folder / "gnomon.db", 90)
    kernel, url = serve()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=16)) as client:
        async with client.get(f"{url}/scheduler/executions?limit=1") as answer:
            assert answer.status == 200
        before = memory_mb(kernel.process.pid, "VmRSS")
        Path(f"/proc/{kernel.process.pid}/clear_refs").write_text("5")  # the most so far is what it is now

        async def read(path: str) -> int:
            async with client.get(f"{url}{path}") as answer:
                assert answer.status == 200, await answer.text()
                return len(await answer.read())

        async def trigger(size: int) -> int:
            body = {"kwargs": {"value": "x" * size}}
            async with client.post(f"{url}/scheduler/jobs/anything/trigger", json=body) as answer:
                return answer.status

        async def look() -> int:
            async with client.ws_connect(f"{url}/ws/live", protocols=["gnomon.live.v1"], max_msg_size=0) as ws:
                await ws.send_json({"t": "hello"})
                return len((await ws.receive()).data)

        refused = await asyncio.gather(*(trigger(MEGABYTE - 1000) for _ in range(10)))
        accepted = await asyncio.gather(*(trigger(200_000) for _ in range(90)))
        sizes = [
            *await asyncio.gather(*(read("/scheduler/executions?limit=200") for _ in range(12))),
            *await asyncio.gather(*(read("/scheduler/jobs/anything/executions?limit=200&q=x") for _ in range(10))),
            *await asyncio.gather(*(look() for _ in range(10))),
        ]
        grown = memory_mb(kernel.process.pid, "VmHWM") - before

    assert set(refused) == {422}
    assert set(accepted) == {202}
    assert max(sizes) < 4 * MEGABYTE
    assert grown < 150, f"the server grew by {grown:.0f} MB"
