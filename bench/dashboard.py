"""Open the pages of the dashboard in Chromium over many jobs and runs: time until they are useful, typing, bytes.

python bench/dashboard.py [JOBS] [EXECUTIONS]

Serves JOBS jobs (5,000) with a SQLite log of EXECUTIONS runs (100,000) of them, opens each page in a fresh browser
context, and prints one JSON line and one sentence. `useful` is the time from the navigation until the first row is
painted, `typing` the slowest time from a key in the filter until the rows are those that match, and `kB` what came over
the network after the page itself: answers and WebSocket frames, uncompressed.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Page, WebSocket, async_playwright

from gnomon import Execution, Job, Kernel
from gnomon.domain.execution import execution_id
from gnomon.durations import Duration
from gnomon.plugins.plugin_set import PluginSet
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from pages import fill

PAGES = {
    "overview": ("/", ".lane-names li"),
    "jobs": ("/jobs", "tr[data-row]"),
    "runs": ("/runs", "tr[data-row]"),
    "job": ("/jobs/job-0042", ".run-list li"),
}
TARGET_USEFUL_MS, TARGET_TYPING_MS = 1_000, 100
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


def generate(jobs: int, count: int) -> Iterator[Execution]:
    """Yield runs of all jobs in turn up to now: 2% failed, 1% missed."""
    chance, now = random.Random(7), datetime.now(UTC)  # noqa: S311 - the same log each time
    for number in range(count):
        job_id, at, draw = name_of(number % jobs), now - timedelta(seconds=2 * (count - number)), chance.random()
        status: Any = "failed" if draw < 0.02 else "missed" if draw < 0.03 else "success"
        yield Execution(
            id=execution_id(job_id, at),
            job_id=job_id,
            job_name=job_id,
            status=status,
            version=3,
            scheduled_time=at,
            timestamp=at,
            updated_at=at,
            execution_time=chance.uniform(1, 9),
            error_message=f"no answer from shard {number % 17}" if status == "failed" else None,
        )


def name_of(number: int) -> str:
    """Return the id of a job."""
    return f"job-{number:04}"


async def open_page(page: Page, url: str, name: str) -> dict[str, Any]:
    """Open a page of the dashboard and return what it took."""
    size = 0

    def count(text: str | bytes) -> None:
        nonlocal size
        size += len(text)

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", count)

    async def add(response: Any) -> None:
        if "/ui/" not in response.url and response.request.resource_type in {"fetch", "xhr"}:
            count(await response.body())

    page.on("websocket", listen)
    page.on("response", add)
    path, selector = PAGES[name]
    await page.goto(url + path)
    useful = await page.evaluate(USEFUL, selector)
    await page.evaluate(IDLE)
    complete = await page.evaluate("performance.now()")
    nodes = await page.evaluate("document.querySelectorAll('*').length")
    found = {"useful": round(useful), "complete": round(complete), "kB": round(size / 1000), "nodes": nodes}
    if name == "jobs":
        found["typing"] = round(max(await page.evaluate(TYPE, "job-0042")))
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    return found


async def measure(path: Path, jobs: int) -> dict[str, Any]:
    """Open every page once, each in a browser context without a cache."""
    plugins = PluginSet()
    web = plugins.add(WebPlugin(Config(port=0)), "web").object
    all_jobs = [
        Job(id=name_of(number), func=body, every=Duration(days=1 + number % 7), tags=[f"team-{number % 20}"])
        for number in range(jobs)
    ]
    found: dict[str, Any] = {}
    async with Kernel(store=SqliteStore(path), jobs=all_jobs, plugins=plugins), async_playwright() as playwright:
        program = shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name in PAGES:
            context = await browser.new_context(viewport={"width": 1280, "height": 860}, locale="en-US")
            found[name] = await open_page(await context.new_page(), web.url, name)
            await context.close()
        await browser.close()
    return found


def main() -> None:
    """Measure once and print the results."""
    jobs, count = (int(argument) for argument in (*sys.argv[1:], *("5000", "100000")[len(sys.argv) - 1 :])[:2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dashboard.db"
        fill(path, generate(jobs, count))
        found = asyncio.run(measure(path, jobs))
    print(json.dumps({"jobs": jobs, "executions": count, "pages": found}))
    slowest = max(found, key=lambda name: float(found[name]["useful"]))
    print(
        f"With {jobs:,} jobs and {count:,} runs the slowest page is {slowest!r}: useful after "
        f"{found[slowest]['useful']} ms (target {TARGET_USEFUL_MS}); typing in the filter of jobs takes up to "
        f"{found['jobs']['typing']} ms (target {TARGET_TYPING_MS})."
    )


if __name__ == "__main__":
    main()
