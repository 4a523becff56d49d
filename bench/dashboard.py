"""Open the pages of the dashboard in Chromium over many jobs and runs: time until they are useful, typing, bytes.

python bench/dashboard.py [--jobs 5000] [--executions 100000]

Another process serves the jobs and a SQLite log of their runs, with the plugin `stats`. Each page is opened in a fresh
browser context. `useful` is the time in ms from the navigation until the first row is painted, `complete` until nothing
is loading, `typing` the slowest time from a key in a filter until the rows are those that match, and `kB` all that came
over the network, the page itself included, as it was sent.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from browser import CountingProxy, chromium
from gnomon import Job, Kernel
from gnomon.durations import Duration
from gnomon.plugins.plugin_set import PluginSet
from gnomon_sqlite import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from measure import arguments, report
from runs import append, runs

PAGES = {
    "overview": ("/", ".lane-names li"),
    "jobs": ("/jobs", "tr[data-row]"),
    "runs": ("/runs", "tr[data-row]"),
    "job": ("/jobs/job-0003", ".run-list li"),
}
TARGETS = {"useful": 1_000, "typing": 100, "kB": 150}
STEP = timedelta(seconds=2)
LIMIT_S = 300.0
USEFUL = """(selector) => new Promise((done) => {
    const painted = () => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
    const look = () => (document.querySelector(selector) ? painted() : setTimeout(look, 5));
    look();
})"""
IDLE = """new Promise((done) => {
    const look = () => (document.querySelector('main [aria-busy]') ? setTimeout(look, 5) : done());
    look();
})"""
TYPE = """async (text) => {
    const field = document.querySelector('[data-search]');
    const rows = () => [...document.querySelectorAll('tr[data-row]')].map((row) => row.textContent.toLowerCase());
    const times = [];
    for (let length = 1; length <= text.length; length += 1) {
        const began = performance.now();
        field.value = text.slice(0, length);
        field.dispatchEvent(new Event('input'));
        do await new Promise(requestAnimationFrame); while (!rows().every((row) => row.includes(field.value)));
        times.push(performance.now() - began);
    }
    return times;
}"""


async def body() -> None:
    """Return at once."""


def name_of(number: int) -> str:
    """Return the id of a job."""
    return f"job-{number:04}"


async def serve(path: Path, names: list[str], executions: int, parent: Connection) -> None:
    """Fill a log, serve it until the parent says so, and report the port when everything is counted."""
    async with SqliteStore(path) as store:
        await append(store, runs(executions, names, datetime.now(UTC) - executions * STEP, STEP))
    jobs = [
        Job(id=name, func=body, every=Duration(days=1 + number % 7), tags=[f"team-{number % 20}"])
        for number, name in enumerate(names)
    ]
    plugins = PluginSet()
    web, stats = plugins.add(WebPlugin(Config(port=0)), "web").object, plugins.add(StatsPlugin(), "stats").object
    async with Kernel(store=SqliteStore(path), jobs=jobs, plugins=plugins) as kernel:
        while stats.position < kernel.health().position:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.1)
        parent.send(int(web.url.rpartition(":")[2]))
        await asyncio.to_thread(parent.recv)


def serve_in_process(path: Path, names: list[str], executions: int, parent: Connection) -> None:
    """Serve the page; the target of another process."""
    asyncio.run(serve(path, names, executions, parent))


async def open_page(browser: Browser, port: int, name: str) -> dict[str, Any]:
    """Open a page of the dashboard in a browser without a cache, and return what it took."""
    context = await browser.new_context(viewport={"width": 1280, "height": 860}, locale="en-US")
    page, (path, selector) = await context.new_page(), PAGES[name]
    async with CountingProxy(port) as proxy:
        await page.goto(proxy.url + path)
        found = {"useful": round(await page.evaluate(USEFUL, selector))}
        await page.evaluate(IDLE)
        found["complete"] = round(await page.evaluate("performance.now()"))
        found["kB"] = round(proxy.received / 1000)
        found["nodes"] = await page.evaluate("document.querySelectorAll('*').length")
        if name == "jobs":
            found["typing"] = await typing(page)
        await context.close()
    return found


async def typing(page: Page) -> int:
    """Return the slowest time until a key in the filter of jobs has an effect."""
    return round(max(await page.evaluate(TYPE, name_of(42))))


async def measure(port: int) -> dict[str, dict[str, Any]]:
    """Open every page once."""
    async with chromium() as browser:
        async with asyncio.timeout(LIMIT_S):
            return {name: await open_page(browser, port, name) for name in PAGES}


def main() -> None:
    """Measure once and print the results."""
    sizes = arguments(__doc__ or "", jobs=5_000, executions=100_000)
    names = [name_of(number) for number in range(sizes.jobs)]
    parent, child = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        given = (Path(folder) / "dashboard.db", names, sizes.executions, child)
        server = multiprocessing.get_context("spawn").Process(target=serve_in_process, args=given)
        server.start()
        try:
            found = asyncio.run(measure(parent.recv()))
        finally:
            parent.send("stop")
            server.join()
    slowest = max(found, key=lambda name: found[name]["useful"])
    report(
        f"dashboard with {sizes.jobs} jobs and {sizes.executions} runs",
        f"With {sizes.jobs:,} jobs and {sizes.executions:,} runs the slowest page is {slowest!r}: useful after "
        f"{found[slowest]['useful']} ms; typing in the filter of jobs takes up to {found['jobs']['typing']} ms, and "
        f"the overview {found['overview']['kB']} kB.",
        targets=TARGETS,
        **found,
    )


if __name__ == "__main__":
    main()
