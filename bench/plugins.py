"""The cost of an event by the number of plugins: CPU time of the whole process in µs per event.

python bench/plugins.py [--runs 5000]
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.interval import IntervalTrigger

from gnomon import Event, Job, Kernel, hookimpl
from gnomon.plugins.plugin_set import PluginSet
from measure import arguments, report, short
from sides import TooLateError, body, starts, until


class Each:
    """Receives single events."""

    seen = 0

    @hookimpl
    def on_event(self, event: Event) -> None:  # noqa: ARG002
        """Count the event."""
        self.seen += 1


class Batches:
    """Receives the events of a commit together."""

    seen = 0

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        """Count the events."""
        self.seen += len(events)


async def measure(runs: int, plugins: Sequence[Each | Batches], lead: float) -> float:
    """Run a burst with the store in memory, and return the CPU time per event in µs."""
    starts.clear()
    due = datetime.now(UTC) + timedelta(seconds=lead)
    trigger = IntervalTrigger(hours=1, start_date=due, timezone="UTC")
    jobs = [Job(id=f"job-{n}", func=body, trigger=trigger) for n in range(runs)]
    found = PluginSet()
    for n, plugin in enumerate(plugins):
        found.add(plugin, f"p{n}")
    async with Kernel(jobs=jobs, plugins=found, max_running=runs) as kernel:
        await until(due)
        before = time.process_time()
        while len(starts) < runs or not kernel.is_idle:  # noqa: ASYNC110 - polls as a test would
            await asyncio.sleep(0.005)
        return (time.process_time() - before) / runs / 3 * 1e6


def cost(runs: int, plugins: Sequence[type[Each | Batches]]) -> float:
    """Return the median of three measurements."""
    found, lead = [], 0.5 + runs / 4_000
    while len(found) < 3:
        try:
            found.append(asyncio.run(measure(runs, [plugin() for plugin in plugins], lead)))
        except TooLateError:
            lead *= 1.6
    return sorted(found)[1]


def main() -> None:
    """Measure and print the results."""
    runs = arguments("Plugins.", runs=5_000).runs
    alone = cost(runs, [])
    each = {n: short((cost(runs, [Each] * n) - alone) / n) for n in (1, 5)}
    batches = {n: short((cost(runs, [Batches] * n) - alone) / n) for n in (1, 5)}
    report(
        "cost of a plugin",
        f"A plugin with `on_event` adds {each[5]} µs of CPU time to each event, one with `on_events` {batches[5]} µs; "
        f"without plugins an event takes {short(alone)} µs.",
        alone_us=short(alone),
        on_event_us_by_plugins=each,
        on_events_us_by_plugins=batches,
    )


if __name__ == "__main__":
    main()
