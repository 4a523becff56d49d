"""The latency of an append to MongoDB, with and without its views in it, at 0 and 50 ms of added latency.

python bench/mongo_append.py [--appends 200] [--latency 50]

Before: the events, then the views, two round trips one after the other. After: the events, while the views follow in
groups. Both sides write the same: a run that starts in one append and ends in the next. The server is the one of
$GNOMON_TEST_MONGODB_URI, else the daemon that the tests use; a proxy delays what goes to it and what comes back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from gnomon.domain import execution
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.testing.histories import NOON, SECOND, numbered, succeeded
from gnomon_mongo import MongoStore
from gnomon_mongo.documents.conversion import event_document, execution_document
from gnomon_mongo.documents.write_batch import WriteBatch, identity
from gnomon_mongo.drivers import Driver
from gnomon_mongo.log import operations
from gnomon_mongo.log.fence import set_term
from gnomon_mongo.server import Server
from gnomon_shared_log.ports.lease_row import Term
from measure import arguments, quartiles, report, short

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
NAME = "An append to MongoDB"
Append = tuple[Sequence[Event], Sequence[Execution]]


def appends(count: int) -> Iterator[Append]:
    """Yield appends: each odd one starts a run, and the next one ends it."""
    for number in range(0, count, 2):
        history = numbered(succeeded("sync", NOON + number * SECOND), after=number // 2 * 3)
        yield history[:2], [execution.fold(history[:2])]
        yield history[2:], [execution.fold(history)]


def find_server() -> str | None:
    """Return the URI of a server, or the program that is one."""
    beside = Path(sys.executable).parent / "secantusd-py"
    program = str(beside) if beside.exists() else shutil.which("secantusd-py")
    return os.environ.get("GNOMON_TEST_MONGODB_URI") or program


@contextmanager
def server(found: str) -> Iterator[str]:
    """Provide the URI of a server."""
    if found.startswith("mongodb"):
        yield found
        return
    from servers import MongoServer  # noqa: PLC0415 - of the tests, in the path that was added above

    with tempfile.TemporaryDirectory() as folder:
        server = MongoServer(found, Path(folder))
        server.start()
        try:
            yield server.uri
        finally:
            server.clean_up()


@asynccontextmanager
async def delayed(uri: str, latency_ms: int) -> AsyncIterator[str]:
    """Provide a URI whose round trips take that much longer."""
    there, tasks = urlsplit(uri), set[asyncio.Task[None]]()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, waiting = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

        async def send() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - loop.time())
                writer.write(data)
                await writer.drain()

        sending = asyncio.create_task(send())
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                waiting.put_nowait((loop.time() + latency_ms / 2000, data))
        sending.cancel()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        back, on = await asyncio.open_connection(there.hostname, there.port)
        await asyncio.gather(copy(reader, on), copy(back, writer))

    proxy = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield f"mongodb://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/?directConnection=true"
    finally:
        proxy.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def before(uri: str, count: int) -> list[float]:
    """Measure appends that write events and then views."""
    found, after, term = [], None, Term("bench", 1)
    server = Server(uri, f"bench_{uuid.uuid4().hex[:8]}", Driver("pymongo"), timeout=30.0)
    await server.connect()
    try:
        await server.make_indexes()
        await set_term(server, term)
        for events, views in appends(count):
            documents = [event_document(event, events[0].position) for event in events]
            batch = WriteBatch(documents, after, [execution_document(view) for view in views])
            begun = time.perf_counter()
            await operations.write_events(server, batch, term)
            await operations.write_rest(server, batch)
            found.append(time.perf_counter() - begun)
            after = identity(documents[-1])
    finally:
        await server.close()
    return found


async def after(uri: str, count: int) -> tuple[list[float], float]:
    """Measure appends of the store, and how many milliseconds after the last one all views were there."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        name, limits = f"bench_{uuid.uuid4().hex[:8]}", {"timeout": timedelta(seconds=30), "lease": timedelta(hours=1)}
        async with MongoStore(uri, name, driver=Driver("pymongo"), spool=Path(folder) / "spool.db", **limits) as store:
            for events, views in appends(count):
                begun = time.perf_counter()
                await store.append(events, views, [])
                found.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            await store.jobs()
            return found, (time.perf_counter() - begun) * 1000


async def measure(uri: str, count: int, latency_ms: int) -> dict[str, object]:
    """Measure both at one latency."""
    async with delayed(uri, latency_ms) as slow:
        then = await before(slow, count)
        now, behind = await after(slow, count)
    return {
        "added_latency_ms": latency_ms,
        "before_ms": quartiles([one * 1000 for one in then]),
        "after_ms": quartiles([one * 1000 for one in now]),
        "appends_per_s": {"before": short(count / sum(then)), "after": short(count / sum(now))},
        "views_behind_ms": short(behind),
    }


def main() -> None:
    """Measure at both latencies and report."""
    sizes = arguments(__doc__ or "", appends=200, latency=50)
    if (program := find_server()) is None:
        report(NAME, "An append to MongoDB was not measured: there is no server.", measurements=[])
        return
    with server(program) as uri:
        found = [asyncio.run(measure(uri, sizes.appends, latency)) for latency in (0, sizes.latency)]
    medians = [(one["before_ms"]["median"], one["after_ms"]["median"]) for one in found]  # type: ignore[index]
    (then, now), (slow_then, slow_now) = medians
    report(
        NAME,
        f"An append to MongoDB takes {now} ms in place of {then} ms, and {slow_now} ms in place of {slow_then} ms at "
        f"{sizes.latency} ms of added latency: the views follow in the background.",
        measurements=found,
    )


if __name__ == "__main__":
    main()
