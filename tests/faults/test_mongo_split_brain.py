"""Two and three kernels on one log in MongoDB: whatever is cut, delayed, stopped or killed, one of them leads."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import mongo_contender
from fault_runs import rounds
from gnomon.domain.events import Event
from gnomon.domain.records import ExecutionQuery
from gnomon.testing import check_log
from gnomon_mongo import MongoStore
from gnomon_mongo.drivers import Driver
from proxies import Proxy, proxied
from servers import MongoServer, eventually, find_mongo

ROUNDS = rounds(short=4, long=100)
LEASE_S = 1.5
DATABASE = "contended"
SKEWS_S = (-300.0, 300.0, 0.0)


class Contender:
    """One of the processes, behind its own proxy."""

    def __init__(self, name: str, proxy: Proxy, folder: Path, skew_s: float) -> None:
        self.name, self.proxy = name, proxy
        uri = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
        self._notes = folder / "notes"
        spool, script = folder / f"{name}.db", mongo_contender.__file__
        values = (uri, DATABASE, name, spool, self._notes, LEASE_S, skew_s)
        self._command = [sys.executable, script, *map(str, values)]
        self._output = (folder / f"{name}.log").open("ab")
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=self._output, stderr=subprocess.STDOUT)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._output.close()


class Contest:
    """Two contenders and what is known of them."""

    def __init__(self, contenders: list[Contender], notes: Path, database: Any) -> None:
        self.contenders = contenders
        self._notes = notes
        self._database = database

    def notes(self) -> list[list[Any]]:
        text = self._notes.read_text(encoding="utf-8") if self._notes.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    async def leader(self) -> Contender | None:
        """Return the contender that recorded the newest event."""
        found = await self._database.scheduler_events.find({"_id": {"$gt": 0}}).sort("_id", -1).limit(1).to_list(1)
        return next((one for one in self.contenders if found and found[0]["node"].startswith(f"{one.name}.")), None)

    async def is_replaced(self, leader: Contender) -> None:
        """Wait until another contender has begun a body."""

        def count() -> int:
            return sum(kind == "began" and not name.startswith(f"{leader.name}.") for kind, name, *_ in self.notes())

        before = count()
        await eventually(lambda: count() > before)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    (tmp_path / "server").mkdir()
    server = MongoServer(find_mongo(), tmp_path / "server")
    server.start()
    yield server
    server.clean_up()


@pytest.fixture(params=[2, 3])
async def contest(server: MongoServer, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Contest]:
    async with AsyncExitStack() as stack:
        client: Any = Driver("pymongo").connect(server.uri, tz_aware=True)
        stack.push_async_callback(client.close)
        contenders = []
        for name, skew_s in itertools.islice(zip("abc", SKEWS_S, strict=True), request.param):
            proxy = await stack.enter_async_context(proxied(server.uri))
            contenders.append(Contender(name, proxy, tmp_path, skew_s))
            stack.callback(contenders[-1].close)
        yield Contest(contenders, tmp_path / "notes", client[DATABASE])


async def cut(leader: Contender, replaced: Callable[[], Awaitable[None]]) -> None:
    leader.proxy.part()
    await replaced()
    leader.proxy.join()


async def half_open(leader: Contender, replaced: Callable[[], Awaitable[None]]) -> None:
    leader.proxy.flows.clear()
    await replaced()
    leader.proxy.join()


async def stop(leader: Contender, replaced: Callable[[], Awaitable[None]]) -> None:
    leader.send(signal.SIGSTOP)
    await replaced()
    leader.send(signal.SIGCONT)


async def kill(leader: Contender, replaced: Callable[[], Awaitable[None]]) -> None:
    leader.kill()
    await replaced()
    leader.start()


async def cut_and_kill(leader: Contender, replaced: Callable[[], Awaitable[None]]) -> None:
    """Kill it while it is cut off, with ends of runs in its spool."""
    leader.proxy.part()
    await asyncio.sleep(LEASE_S / 2)  # how much of it has happened by then does not matter
    await kill(leader, replaced)
    leader.proxy.join()


async def lose_answers(leader: Contender, replaced: Callable[[], Awaitable[None]]) -> None:
    """Swallow the answers to writes that reach the server, then cut it off."""
    leader.proxy.answers_to_swallow = 3
    await eventually(lambda: leader.proxy.answers_to_swallow == 0)
    await cut(leader, replaced)


async def delay(leader: Contender, replaced: Callable[[], Awaitable[None]]) -> None:
    """Delay every answer by more than the limit of a write; it arrives nevertheless."""
    leader.proxy.delay_s = LEASE_S
    await replaced()
    leader.proxy.delay_s = 0.0
    leader.proxy.cut()


FAULTS = (cut, stop, half_open, kill, lose_answers, cut_and_kill, delay)


@pytest.mark.timeout(ROUNDS * 60)
async def test_one_kernel_leads_at_a_time_whatever_happens_to_it(contest: Contest, server: MongoServer) -> None:
    first = 0 if len(contest.contenders) == 2 else 4  # so the short form has every fault
    for inflict in itertools.islice(itertools.cycle(FAULTS), first, first + ROUNDS):
        await eventually(contest.leader)
        leader = await contest.leader()
        assert leader is not None

        async def is_replaced(leader: Contender = leader) -> None:
            await contest.is_replaced(leader)

        await inflict(leader, is_replaced)
    for contender in contest.contenders:
        contender.kill()

    async with MongoStore(server.uri, DATABASE, driver=Driver("pymongo")) as store:
        log = await store.read(limit=1_000_000)
        views, page = [], await store.executions(ExecutionQuery(limit=200))
        while True:
            views += page.items
            if page.next is None:
                break
            page = await store.executions(ExecutionQuery(limit=200, cursor=page.next))
        check_log(log, views, await store.jobs())
        assert await store.differences() == []
    notes = contest.notes()
    began = Counter(values[0] for kind, _, *values in notes if kind == "began")
    assert [run for run, times in began.items() if times > 1] == []  # no body twice for one execution
    started = {event.stream for event in log if event.type == "started"}
    assert began.keys() <= started
    written = {event.position: (event.stream, event.type) for event in log}
    acknowledged = [note for note in notes if note[0] == "acknowledged"]
    assert len(acknowledged) > len(started)
    replaced = [note for note in acknowledged if written.get(note[2]) != tuple(note[3:])]
    assert replaced == []
    check_terms(log)
    check_viewers(notes)
    ordered = [note[2] for note in notes if note[0] == "ordered"]
    assert len(ordered) == len(set(ordered))
    assert set(ordered) <= {event.stream for event in log}  # what was answered is in the log


def check_terms(log: list[Event]) -> None:
    """Check that nobody writes after another kernel has begun to lead."""
    terms, leader = 0, ""
    for event in log:
        if event.type == "kernel_started":
            terms, leader = terms + 1, event.node
        assert event.node == leader, f"{event.node} wrote event {event.position} in the term of {leader}"
    assert terms > ROUNDS


def check_viewers(notes: list[list[Any]]) -> None:
    """Check that each viewer saw each event once and in order, while its process led and while it followed."""
    seen: dict[str, list[int]] = {}
    for kind, name, *values in notes:
        if kind == "saw":
            seen.setdefault(name, []).append(values[0])
    for name, positions in seen.items():
        assert positions == list(range(positions[0], positions[0] + len(positions))), name
    assert len(seen) > 1
