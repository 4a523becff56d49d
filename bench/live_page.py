"""Measure a busy overview in Chromium: the time from an event to its pixels, the bytes, and the growth of the heap.

python bench/live_page.py [--events 50] [--seconds 30]

Another process runs jobs that record about EVENTS events a second. The page reports how old each event is when the next
frame after it is painted; both processes read the same clock. The heap is measured after a garbage collection: after a
fifth of the time, when everything is loaded and compiled, and at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import tempfile
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from playwright.async_api import CDPSession, Page

from browser import CountingProxy, chromium
from gnomon import Context, Job, Kernel
from gnomon.plugins.plugin_set import PluginSet
from gnomon_sqlite import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from measure import arguments, percentile, report, short

EVENTS_OF_A_RUN, JOBS = 5, 34
TARGET_MS = 150
LISTEN = """async () => {
    const names = performance.getEntriesByType('resource').map((one) => one.name);
    const page = await import(names.find((name) => name.endsWith('/app.js')));
    window.ages = [];
    page.onEvents((events) => {
        const ats = events.map((event) => Date.parse(event.at));
        requestAnimationFrame(() => setTimeout(() => {
            const painted = performance.timeOrigin + performance.now();
            for (const at of ats) window.ages.push(painted - at);
        }));
    });
}"""


async def work(ctx: Context) -> None:
    """Report progress twice."""
    for number in (1, 2):
        await asyncio.sleep(0.2)
        ctx.progress(number * 40, f"part {number} of 2")


async def serve(path: Path, events: int, parent: Connection) -> None:
    """Run jobs in turn until the parent says so, and report the port."""
    jobs, plugins = [Job(id=f"job-{number:02}", func=work, overlap="allow") for number in range(JOBS)], PluginSet()
    web = plugins.add(WebPlugin(Config(port=0)), "web").object
    plugins.add(StatsPlugin(), "stats")
    async with Kernel(store=SqliteStore(path), jobs=jobs, plugins=plugins, drain=timedelta(0)) as kernel:
        parent.send(int(web.url.rpartition(":")[2]))
        running = asyncio.create_task(run_in_turn(kernel, [job.id for job in jobs], EVENTS_OF_A_RUN / events))
        await asyncio.to_thread(parent.recv)
        running.cancel()


async def run_in_turn(kernel: Kernel, job_ids: list[str], every_s: float) -> None:
    """Trigger one job after the other."""
    for job_id in itertools.cycle(job_ids):
        await kernel.trigger(job_id)
        await asyncio.sleep(every_s)


def serve_in_process(path: Path, events: int, parent: Connection) -> None:
    """Serve the page; the target of another process."""
    asyncio.run(serve(path, events, parent))


async def heap_mb(devtools: CDPSession) -> float:
    """Return the size of the heap after a garbage collection."""
    await devtools.send("HeapProfiler.collectGarbage")
    used: float = (await devtools.send("Runtime.getHeapUsage"))["usedSize"]
    return used / 1e6


async def look(page: Page, proxy: CountingProxy, devtools: CDPSession, seconds: int) -> dict[str, Any]:
    """Listen to events on the overview for some time, and return what it took."""
    await page.goto(proxy.url)
    await page.wait_for_selector(".lane-names li")
    opened_kb = proxy.received / 1000
    await asyncio.sleep(seconds / 5)
    before = await heap_mb(devtools)
    await page.evaluate(LISTEN)
    await asyncio.sleep(seconds)
    ages = sorted(await page.evaluate("window.ages.splice(0)"))
    if not ages:
        raise SystemExit("the page received no events")
    return {
        "events_per_s": short(len(ages) / seconds),
        "age_ms": {"p50": short(percentile(ages, 50)), "p99": short(percentile(ages, 99)), "worst": short(ages[-1])},
        "opened_kB": short(opened_kb),
        "kB_per_s": short((proxy.received / 1000 - opened_kb) / (1.2 * seconds)),
        "heap_mb": {"before": short(before), "after": short(await heap_mb(devtools))},
    }


async def measure(port: int, seconds: int) -> dict[str, Any]:
    """Open the overview and look at it."""
    async with chromium() as browser, CountingProxy(port) as proxy:
        page = await browser.new_page(viewport={"width": 1280, "height": 860}, locale="en-US")
        return await look(page, proxy, await page.context.new_cdp_session(page), seconds)


def main() -> None:
    """Measure once and print the results."""
    sizes = arguments(__doc__ or "", events=50, seconds=30)
    parent, child = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        given = (Path(folder) / "live.db", sizes.events, child)
        server = multiprocessing.get_context("spawn").Process(target=serve_in_process, args=given)
        server.start()
        try:
            found = asyncio.run(measure(parent.recv(), sizes.seconds))
        finally:
            parent.send("stop")
            server.join()
    age, heap = found["age_ms"], found["heap_mb"]
    report(
        f"a busy overview for {sizes.seconds} s",
        f"At {found['events_per_s']} events per second an event is painted after {age['p50']} ms, p99 {age['p99']} ms "
        f"(target {TARGET_MS}); the page opens with {found['opened_kB']} kB, and its heap goes from {heap['before']} "
        f"to {heap['after']} MB in {sizes.seconds} s.",
        **found,
    )


if __name__ == "__main__":
    main()
