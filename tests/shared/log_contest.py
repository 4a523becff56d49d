"""Several processes that contend for one log on a server, each behind its own proxy, and what is known of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import log_contender
from gnomon.errors import NoLogError
from gnomon.ports import Store
from log_places import LogServer, make_database, patient, place_on, store_of
from proxies import Proxy, proxied
from servers import eventually

LEASE_S = 1.5
PATIENCE = 240.0
"""Seconds until what does not happen fails a contest: on a busy machine the time limits of the processes run out."""
SKEWS_S = (-300.0, 300.0, 0.0)
"""How wrong the clocks of the processes are."""


class Contender:
    """One of the processes, behind its own proxy."""

    def __init__(self, name: str, proxy: Proxy, place: str, folder: Path, skew_s: float) -> None:
        self.name, self.proxy = name, proxy
        spool, script = folder / f"{name}.db", log_contender.__file__
        values = (place, name, spool, folder / "notes", LEASE_S, skew_s)
        self._command = [sys.executable, script, *map(str, values)]
        self._output = (folder / f"{name}.log").open("ab")
        self.start()

    @property
    def prefix(self) -> str:
        """What the names of the kernels in its present process begin with."""
        return f"{self.name}.{self._process.pid}."

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=self._output, stderr=subprocess.STDOUT)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    async def print_tasks(self) -> None:
        """Print what it has logged, and where each of its tasks is."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGUSR1)
        await asyncio.sleep(1.0)  # nothing says that it has printed them
        print(f"--- {self.name} ---\n{Path(self._output.name).read_text(errors='replace')}")

    def close(self) -> None:
        self.kill()
        self._output.close()


class Seen(NamedTuple):
    """An event as a process noted it: when it saw the event, on the clock of the machine."""

    seconds: float
    position: int
    stream: str
    type: str


class Notes:
    """What the processes have noted so far."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self.began: list[tuple[str, float, str]] = []
        self.ordered: dict[str, str] = {}
        self.orders: list[str] = []
        self.acknowledged: list[Seen] = []
        self.seen: dict[str, list[Seen]] = defaultdict(list)
        self.terms: dict[int, tuple[str, float]] = {}  # the first event of each: who saw it first, and when

    def read(self) -> None:
        """Read on; a line that is not complete yet is left for the next time."""
        while line := self._file.readline():
            if not line.endswith(b"\n"):
                self._file.seek(-len(line), os.SEEK_CUR)
                return
            kind, name, seconds, *values = json.loads(line)
            match kind:
                case "began":
                    self.began.append((name, seconds, values[0]))
                case "ordering":
                    self.orders.append(values[0])
                case "ordered":
                    self.ordered[values[0]] = values[1]
                case "acknowledged":
                    self.acknowledged.append(Seen(seconds, *values))
                case "saw":
                    self._add_seen(name, Seen(seconds, *values))

    def close(self) -> None:
        self._file.close()

    def _add_seen(self, name: str, seen: Seen) -> None:
        self.seen[name].append(seen)
        if seen.type == "kernel_started":
            first = self.terms.get(seen.position)
            if first is None or seen.seconds < first[1]:
                self.terms[seen.position] = (name, seen.seconds)


class Observer:
    """Reads the log on the server itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_open = False
        self.head = 0
        self.first = 0  # of the newest term
        self.leader = ""  # the node of that kernel

    async def read(self) -> None:
        """Read on, if there is a log."""
        if not self._is_open:
            try:
                await self._store.open(read_only=True)
            except NoLogError:
                return
            self._is_open = True
        while self.head < await self._store.head():
            for event in await self._store.read(self.head):
                self.head = event.position
                if event.type == "kernel_started":
                    self.first, self.leader = event.position, event.node

    async def end_term(self) -> None:
        """End the term of a kernel that was killed, as `gnomon takeover` does: the next one need not wait for it."""
        holder = await self._store.holder()
        while holder is not None and holder.is_active:  # a renewal that it had sent has only now arrived
            holder = await self._store.holder()
        if holder is not None:
            await self._store.take_over(holder)

    async def close(self) -> None:
        await self._store.close()


class Contest:
    """The contenders on one log, their notes, and what is in the log."""

    def __init__(self, contenders: list[Contender], notes: Notes, observer: Observer, place: str) -> None:
        self.contenders, self.notes, self.place = contenders, notes, place
        self._observer = observer

    async def leader(self) -> Contender | None:
        """Return the contender whose term is the newest, None where that process is gone."""
        await self._observer.read()
        node = self._observer.leader
        return next((one for one in self.contenders if node.startswith(one.prefix)), None)

    async def ready(self) -> Contender:
        """Wait until a contender leads and all others follow it, and return the leader."""
        found: list[Contender] = []

        async def is_ready() -> bool:
            leader = await self.leader()
            after = self._observer.first + 1
            if leader is not None and all(self.has_seen(one, after) for one in self.contenders):
                found.append(leader)
            return bool(found)

        await eventually(is_ready, PATIENCE)
        return found[0]

    def has_seen(self, contender: Contender, position: int) -> bool:
        """Return whether the viewer in the present process of a contender has seen the log up to a position."""
        self.notes.read()
        names = [name for name in self.notes.seen if name.startswith(contender.prefix)]
        return any(self.notes.seen[name][-1].position >= position for name in names)

    async def has_begun(self, by: Callable[[str], bool]) -> None:
        """Wait until one more body has begun in a kernel that is chosen by name."""
        self.notes.read()
        known = len(self.notes.began)

        def is_there() -> bool:
            self.notes.read()
            return any(by(name) for name, *_ in self.notes.began[known:])

        await eventually(is_there, PATIENCE)

    async def head(self) -> int:
        await self._observer.read()
        return self._observer.head

    async def end(self) -> None:
        """Wait until every viewer has seen the log up to its present end, kill all contenders, and free the log."""
        await self.ready()
        head = await self.head()
        await eventually(lambda: all(self.has_seen(one, head) for one in self.contenders), PATIENCE)
        for contender in self.contenders:
            contender.kill()
        self.notes.read()
        await self._observer.end_term()


@asynccontextmanager
async def contest_of(count: int, server: LogServer, folder: Path) -> AsyncIterator[Contest]:
    """Start so many contenders on their own log, whose database has the name of their folder."""
    folder.mkdir()
    name = f"contended-{folder.name}"
    make_database(server, name)
    async with AsyncExitStack() as stack:
        place = place_on(server, name)
        observer = Observer(store_of(place, **patient(folder / "observer.db")))
        stack.push_async_callback(observer.close)
        notes = Notes(folder / "notes")
        stack.callback(notes.close)
        contenders = []
        for one, skew_s in zip("abc"[:count], SKEWS_S, strict=False):
            proxy = await stack.enter_async_context(proxied(f"127.0.0.1:{server.port}"))
            contenders.append(Contender(one, proxy, place_on(server, name, proxy.port), folder, skew_s))
            stack.callback(contenders[-1].close)
        try:
            yield Contest(contenders, notes, observer, place)
        except BaseException:
            for contender in contenders:
                await contender.print_tasks()
            raise


# --- what is done to a contender: each begins a fault, and the end of its block ends it ---


@asynccontextmanager
async def cut(one: Contender) -> AsyncIterator[None]:
    """Cut its connections, and leave new ones without an answer."""
    one.proxy.part()
    yield
    one.proxy.join()


@asynccontextmanager
async def half_open(one: Contender) -> AsyncIterator[None]:
    """Hold back everything on connections that stay open."""
    one.proxy.flows.clear()
    yield
    one.proxy.join()


@asynccontextmanager
async def stop(one: Contender) -> AsyncIterator[None]:
    """Stop its process, which wakes later as if nothing had happened."""
    one.send(signal.SIGSTOP)
    yield
    one.send(signal.SIGCONT)


@asynccontextmanager
async def kill(one: Contender) -> AsyncIterator[None]:
    """Kill its process, and start another one later."""
    one.kill()
    yield
    one.start()


@asynccontextmanager
async def cut_and_kill(one: Contender) -> AsyncIterator[None]:
    """Kill it while it is cut off, with ends of runs in its spool."""
    one.proxy.part()
    await asyncio.sleep(LEASE_S / 2)  # how much of it has happened by then does not matter
    one.kill()
    yield
    one.proxy.join()
    one.start()


@asynccontextmanager
async def lose_answers(one: Contender) -> AsyncIterator[None]:
    """Lose the answers to requests that reach the server, then cut it off."""
    one.proxy.answers_to_swallow = 3
    await eventually(lambda: one.proxy.answers_to_swallow == 0, PATIENCE)
    async with cut(one):
        yield


@asynccontextmanager
async def deafen(one: Contender) -> AsyncIterator[None]:
    """Hold back every answer, on connections that stay open; requests reach the server."""
    one.proxy.answers_flow.clear()
    yield
    one.proxy.answers_flow.set()


@asynccontextmanager
async def delay(one: Contender) -> AsyncIterator[None]:
    """Delay every answer by more than the limit of a write; it arrives nevertheless."""
    one.proxy.delay_s = LEASE_S
    yield
    one.proxy.delay_s = 0.0
    one.proxy.cut()


FAULTS = (cut, stop, half_open, kill, lose_answers, delay, deafen, cut_and_kill)
