"""Replay a large log into the view of executions, as a projection that is built anew does.

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
    """Write that many events, and their views."""
    for batch in batches(1_000):
        await store.append(*batch)
        if batch[0][-1].position >= count:
            return


async def replay(store: SqliteStore) -> Mapping[str, float]:
    """Read all events and fold them; µs for each."""
    views: dict[str, Execution] = {}
    position, reading = 0, 0.0
    begun = time.perf_counter()
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
    spent = time.perf_counter() - begun
    return {"us_per_event": spent / position * 1e6, "of_it_reading": reading / position * 1e6, "views": len(views)}


async def measure(count: int) -> None:
    """Fill a log, replay it, print."""
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore(Path(folder) / "replay.db", synchronous="NORMAL") as store:
            await fill(store, count)
            runs = [await replay(store) for _ in range(3 if count <= 200_000 else 1)]
    best = min(runs, key=lambda run: run["us_per_event"])
    report(
        f"replay of {count} events",
        f"{count:,} events are replayed into {best['views']:,.0f} executions at {short(best['us_per_event'])} µs an "
        f"event, {short(best['of_it_reading'])} of them to read and decode it.",
        **{key: short(value) for key, value in best.items()},
    )


def main() -> None:
    """Measure and print."""
    asyncio.run(measure(arguments("Replay.", events=1_000_000).events))


if __name__ == "__main__":
    main()
