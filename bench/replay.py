"""Replay a large log into views of executions, as when a projection is rebuilt.

python bench/replay.py [--events 1000000]
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from append import batches
from gnomon.domain import execution
from gnomon.domain.execution import Execution
from gnomon_sqlite import SqliteStore
from measure import arguments, report, short

PAGE = 10_000


async def fill(store: SqliteStore, count: int) -> None:
    """Write `count` events and their views."""
    for batch in batches(1_000):
        await store.append(*batch)
        if batch[0][-1].position >= count:
            return


async def replay(store: SqliteStore) -> Mapping[str, float]:
    """Read and fold all events; return the µs per event."""
    views: dict[str, Execution] = {}
    position, reading = 0, 0.0
    started = time.perf_counter()
    while True:
        before = time.perf_counter()
        page = await store.read(position, PAGE)
        reading += time.perf_counter() - before
        if not page:
            break
        for event in page:
            if (view := views.get(event.stream)) is None:
                views[event.stream] = execution.begin(event)
            else:
                view.apply(event)
        position = page[-1].position
    spent = time.perf_counter() - started
    return {"us_per_event": spent / position * 1e6, "of_it_reading": reading / position * 1e6, "views": len(views)}


async def measure(count: int) -> None:
    """Fill a log, replay it, and print the results."""
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore(Path(folder) / "replay.db", synchronous="NORMAL") as store:
            await fill(store, count)
            runs = [await replay(store) for _ in range(3 if count <= 200_000 else 1)]
    best = min(runs, key=lambda run: run["us_per_event"])
    report(
        f"replay of {count} events",
        f"{count:,} events are replayed into {best['views']:,.0f} executions at {short(best['us_per_event'])} µs per "
        f"event, {short(best['of_it_reading'])} of which for reading and decoding.",
        **{key: short(value) for key, value in best.items()},
    )


def main() -> None:
    """Measure and print the results."""
    asyncio.run(measure(arguments("Replay.", events=1_000_000).events))


if __name__ == "__main__":
    main()
