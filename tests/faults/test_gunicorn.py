"""gunicorn with four workers on one SQLite log, whose workers are killed at random while clients order and watch."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import gunicorn_app
from fault_runs import IS_LONG, rounds, variants
from gunicorn_app import EVERY, TOKEN
from log_checker import LogEvent, check_interval, check_log

WORKERS = 4
KILLS = rounds(short=4, long=60)
KILL_EVERY_S = 3.0
"""In the long form. In the short one a worker is killed when so many further runs have been seen to start:"""
STARTS_BETWEEN_KILLS = 12
CLIENTS = 4
VIEWERS = 3
IDLE_LIMIT = timedelta(seconds=1.5)
PATIENCE = 100.0
READY = re.compile(r"\[(\d+)\] \[INFO\] Application startup complete")
BEARER = {"Authorization": f"Bearer {TOKEN}"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the workers are found in /proc")


class Gunicorn:
    """gunicorn with its workers, on a socket that the test has opened."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listening.getsockname()[1]
        self.log = folder / "gunicorn.log"
        command = ["gunicorn", "--workers", str(WORKERS), "--worker-class", "uvicorn_worker.UvicornWorker"]
        command += [
            "--bind",
            f"fd://{self._listening.fileno()}",
            "--graceful-timeout",
            "20",
            "--no-control-socket",
            *options,
        ]
        with self.log.open("wb") as output:
            self._arbiter = subprocess.Popen(
                [sys.executable, "-m", *command, "gunicorn_app:make_app()"],
                cwd=Path(gunicorn_app.__file__).parent,
                env=os.environ | {"SHARED_LOG": str(folder / "gnomon.db")},
                pass_fds=[self._listening.fileno()],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        pid = self._arbiter.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def are_ready(self, count: int) -> bool:
        """Return whether so many workers have started their kernels: a machine that is too busy boots none in 3 s."""
        ready = {int(pid) for pid in READY.findall(self.said())}
        return len(ready.intersection(self.workers())) >= count

    def kill_a_worker(self, chance: random.Random) -> None:
        if workers := self.workers():
            os.kill(chance.choice(workers), signal.SIGKILL)

    def stop(self) -> None:
        """Stop it in order."""
        self._arbiter.send_signal(signal.SIGTERM)
        assert self._arbiter.wait(PATIENCE) == 0, self.said()

    def close(self) -> None:
        if self._arbiter.poll() is None:
            for worker in self.workers():
                os.kill(worker, signal.SIGKILL)
            self._arbiter.kill()
        self._arbiter.wait(PATIENCE)
        self._listening.close()

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Viewer:
    """A WebSocket to one of the workers, which goes on at its position when that worker is killed."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._log: str | None = None
        self.events: list[LogEvent] = []
        self.connections = 0

    @property
    def seq(self) -> int:
        return len(self.events)

    @property
    def starts(self) -> int:
        return sum(event["type"] == "started" for event in self.events)

    async def watch(self) -> None:
        """Follow the log from its beginning for ever."""
        while True:
            with_log = {"log": self._log} if self._log is not None else {}
            try:
                url, query = "/gnomon/ws/events", {"after": str(self.seq), **with_log}
                async with self._session.ws_connect(url, params=query, headers=BEARER) as connection:
                    self.connections += 1
                    async for message in connection:
                        self._take(json.loads(message.data))
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)

    def _take(self, frame: dict[str, Any]) -> None:
        assert frame["type"] in {"ready", "events", "heartbeat"}, frame
        self._log = frame.get("log", self._log)
        for event in frame.get("events", ()):
            assert event["position"] == self.seq + 1, f"after {self.seq} came {event['position']}"
            self.events.append(event)
        assert frame["seq"] == self.seq, frame


class Client:
    """Orders one thing after the other, each from one of the workers, and notes what was acknowledged."""

    def __init__(self, session: aiohttp.ClientSession, name: str) -> None:
        self._session, self._name = session, name
        self._chance = random.Random(name)
        self._count = 0
        self.done: dict[str, str] = {}
        """What each order was that has been acknowledged, by its id."""
        self.open: set[str] = set()
        """Orders that may have been done, because their answer did not come."""
        self.runs: list[str] = []
        self.added: list[str] = []

    async def order(self) -> None:
        """Order for ever."""
        while True:
            await self._one()

    async def _one(self) -> None:
        self._count += 1
        order = f"{self._name}.{self._count}"
        match self._chance.choice(["trigger", "trigger", "add", "cancel"]):
            case "trigger":
                if (answer := await self._post(order, f"/trigger/{order}")) is not None:
                    self.done[order] = "scheduled"
                    self.runs.append(answer["run"])
                    await self._expect_to_see(answer["run"])
            case "add":
                if (answer := await self._post(order, f"/add/{order}")) is not None:
                    self.done[order] = "job_added"
                    self.added.append(answer["job"])
            case "cancel":
                if (answer := await self._post(f"{order}.run", f"/trigger/{order}.run?seconds=60")) is None:
                    return
                self.done[f"{order}.run"] = "scheduled"
                self.runs.append(answer["run"])
                if await self._post(order, f"/cancel/{order}/{answer['run']}") is not None:
                    self.done[order] = "cancel"

    async def _expect_to_see(self, run: str) -> None:
        """Expect each worker to know what has been acknowledged."""
        try:
            async with self._session.get(f"/run/{run}") as response:
                assert response.status in {200, 503}, await response.text()
        except (aiohttp.ClientError, OSError):
            pass

    async def _post(self, order: str, path: str) -> dict[str, Any] | None:
        """Return the answer to an order, or None where it was refused or not answered."""
        try:
            async with self._session.post(path) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
                if response.status == 200:
                    return answer
                assert response.status in {409, 503}, answer
        except (aiohttp.ClientError, OSError, ValueError):
            await asyncio.sleep(0.05)
        self.open.add(order)
        return None


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines as long as the block; what one of them raises ends it."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(one) for one in work]
        yield
        for task in started:
            task.cancel()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes make it true
            await asyncio.sleep(0.02)


async def until_the_next_kill(viewer: Viewer) -> None:
    if IS_LONG:
        await asyncio.sleep(KILL_EVERY_S)
    else:
        seen = viewer.starts
        await eventually(lambda: viewer.starts >= seen + STARTS_BETWEEN_KILLS)


async def head_of(session: aiohttp.ClientSession) -> int:
    """Return the position of the log, which any worker knows."""
    async with session.get("/health") as response:
        return int((await response.json())["position"])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", variants((), long=[("--preload",)]))
async def test_workers_that_are_killed_lose_nothing_and_do_nothing_twice(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    server, chance = Gunicorn(tmp_path, *options), random.Random(16)
    connector = aiohttp.TCPConnector(force_close=True)  # each request goes to the worker that accepts it first
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", connector=connector) as session:
            viewers = [Viewer(session) for _ in range(VIEWERS)]
            clients = [Client(session, f"client-{number}") for number in range(CLIENTS)]
            async with running(*(viewer.watch() for viewer in viewers)):
                await eventually(lambda: all(viewer.starts > STARTS_BETWEEN_KILLS for viewer in viewers))
                async with running(*(client.order() for client in clients)):
                    for _ in range(KILLS):
                        await until_the_next_kill(viewers[0])
                        await eventually(lambda: server.are_ready(2))  # one of them survives
                        server.kill_a_worker(chance)
                    await until_the_next_kill(viewers[0])
                    await eventually(lambda: all(len(client.done) > KILLS for client in clients))
                head = await head_of(session)
                await eventually(lambda: all(viewer.seq >= head for viewer in viewers))
        await asyncio.to_thread(server.stop)
    except BaseException:
        print(server.said())
        raise
    finally:
        server.close()

    log = tmp_path / "gnomon.db"
    events = check_log(log, accepted=(run for client in clients for run in client.runs), ended=False)
    check_orders(events, clients)
    for viewer in viewers:
        assert [facts(one) for one in viewer.events] == [facts(one) for one in events[: viewer.seq]]
        assert viewer.connections > 1 or not IS_LONG  # in the short form it may never be hit
    for job_id in ("tick", "work"):
        check_interval(events, job_id, EVERY)
    if IS_LONG:
        check_that_nobody_was_idle(events)
    audit = await asyncio.to_thread(gnomon, "audit", tmp_path)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def facts(event: LogEvent) -> tuple[Any, ...]:
    return event["position"], event["stream"], event["version"], event["type"]


def check_orders(events: list[LogEvent], clients: list[Client]) -> None:
    """Assert that each acknowledged order was done once, and no order twice."""
    requested = {event["stream"] for event in events if event["type"] == "cancel_requested"}
    acts: Counter[tuple[str, str]] = Counter()
    for event in events:
        kind = "cancel" if event["type"] == "cancel_requested" else event["type"]
        if kind == "cancelled" and event["stream"] not in requested:  # it had not started
            kind = "cancel"
        acts[event.get("actor") or "", kind] += 1
    for client in clients:
        for order, kind in client.done.items():
            assert acts[order, kind] == 1, (order, kind, acts[order, kind])
        for order in client.open:
            assert all(acts[order, kind] <= 1 for kind in ("scheduled", "job_added", "cancel")), order
        for job_id in client.added:
            outcomes = [
                event for event in events if event["job_id"] == job_id and event["type"] in {"scheduled", "missed"}
            ]
            assert len(outcomes) <= 1, outcomes


def check_that_nobody_was_idle(events: list[LogEvent]) -> None:
    """Assert that fires were decided all the time, in every term."""
    decided = [datetime.fromisoformat(event["at"]) for event in events if event["job_id"] in {"tick", "work"}]
    longest = max((after - before, before) for before, after in pairwise(decided))
    assert longest[0] <= IDLE_LIMIT, longest


def gnomon(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that reads the log, as an operator does in its folder."""
    (folder / "gnomon.toml").write_text("[plugins.sqlite]\n")
    return subprocess.run(
        [sys.executable, "-m", "gnomon.cli", command], cwd=folder, capture_output=True, text=True, check=False
    )
