"""What the page says of runs that wait, stop or have just ended: never more than is known."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

from playwright.async_api import expect

from gnomon import Context, Job, Retry
from gnomon.durations import Duration
from gnomon_stats import StatsPlugin


def broken() -> None:
    raise ValueError("no such table")


async def test_waiting_and_stopping_runs_say_what_they_wait_for(open_page: Any, serve: Any) -> None:
    release = threading.Event()

    def stubborn(ctx: Context) -> None:
        ctx.progress(40, "in a call that ignores cancellation")
        release.wait()

    served = await serve(
        Job(id="stubborn", func=stubborn, cancel_grace=Duration(hours=1)),
        Job(id="broken", func=broken, retry=Retry(attempts=2, delay=Duration(hours=1))),
    )
    window = await open_page(served.url, "/")
    page = window.page
    try:
        run = (await served.kernel.trigger("stubborn")).execution.id
        row = page.locator(".running-list .run", has_text="stubborn")
        await expect(row.locator(".left")).to_contain_text("left")
        await served.kernel.cancel(run)

        # No estimate for a body that refuses to stop, but the reason.
        await expect(row.locator(".left")).to_contain_text("a thread cannot be killed")
        await expect(row).not_to_contain_text(re.compile(r"\bleft\b|longer than usual"))
        await window.follow(f"/runs/{run}")
        await expect(page.locator(".panel.progress")).to_contain_text("a thread cannot be killed")
        await expect(page.locator(".panel.progress")).not_to_contain_text(re.compile(r"\bleft\b"))

        # A retry that waits has no bar, and says when it starts.
        first = (await served.kernel.trigger("broken")).execution.id
        await served.kernel.wait(first)
        await window.follow("/")
        row = page.locator(".running-list .run", has_text="broken")
        await expect(row.locator(".left")).to_contain_text(re.compile(r"attempt 2 in \d"))
        await expect(row.get_by_role("progressbar")).to_have_count(0)
        await row.locator("a").first.click()
        await expect(page.locator(".facts")).to_contain_text(re.compile(r"attempt 2 in \d"))
        await expect(page.locator(".facts")).not_to_contain_text("waiting for a slot")
        await expect(page.get_by_role("progressbar")).to_have_count(0)
    finally:
        release.set()


async def test_a_run_that_ends_while_a_snapshot_is_taken_is_finished(open_page: Any, day: str) -> None:
    # The server reads unfinished runs first: one that ends in between is in both lists.
    window = await open_page(day, "/")
    told = await window.inside("""(() => {
        const id = m.activeIds.peek().find((id) => m.runs.get(id).peek().status === 'running');
        const run = m.runs.get(id).peek();
        const jobs = m.jobIds.peek().map((id) => m.jobOf(id));
        const [waiting, ended] = [{ ...run, status: 'scheduled' }, { ...run, status: 'success', version: run.version + 9 }];
        m.loadSnapshot({ log: '', seq: 0, version: '', now: run.timestamp, jobs, running: [waiting], recent: [ended], health: {} });
        return [m.activeIds.peek(), m.finishedIds.peek().length, m.runs.get(id).peek().status];
    })()""")
    assert told == [[], 1, "success"]
    await expect(window.page.locator(".running-list .run")).to_have_count(0)


async def test_what_runs_and_how_long_it_still_needs(open_page: Any, serve: Any) -> None:
    gate = asyncio.Event()

    async def works(ctx: Context, waits: bool = False) -> None:
        ctx.progress(10)
        if waits:
            await gate.wait()

    served = await serve(Job(id="steady", func=works), plugins=[StatsPlugin()])
    for _ in range(5):
        await served.kernel.wait((await served.kernel.trigger("steady")).execution.id)
    run = (await served.kernel.trigger("steady", kwargs={"waits": True})).execution.id
    window = await open_page(served.url, "/")  # no click
    page, left = window.page, re.compile(r"\bleft\b|about to end")
    row = page.locator(".running-list .run", has_text="steady")
    await expect(row.locator(".elapsed")).to_contain_text("s")
    await expect(row.locator(".left")).to_contain_text(left)
    await expect(row.locator(".left")).to_have_attribute("title", re.compile(r"^Estimated from its progress"))
    for path in ("/jobs", "/runs"):
        await window.follow(path)
        await expect(page.locator("tr[data-row] small", has_text=left)).to_have_count(1)
    await window.follow(f"/runs/{run}")
    # The first three runs had too few before them.
    await expect(page.locator(".panel.progress")).to_contain_text("Of 2 checked runs of this job, 2 ended within")

    # It is the server's range, counted down; where that knows nothing any more, nothing is said.
    known = {"at": "2026-11-25T12:00:00Z", "basis": "steps"}
    texts = await window.inside(
        "arg.map((one) => m.timeLeft({ as_of: Date.parse('2026-11-25T12:00:05Z'), ...one }))",
        [
            {"eta": {"low": 65, "high": 130, **known}},
            {"eta": {"low": 65.2, "high": 65.4, **known}},
            {"eta": {"low": 2, "high": 15, **known}},
            {"eta": {"low": 1, "high": 5.3, **known}},
            {"eta": None},
            {"eta": {"low": 65, "high": 130, **known}, "cancel_requested": True},
        ],
    )
    assert texts == ["1m to 2m 5s left", "about 1m left", "up to 10s left", "about to end", "", "asked to stop"]
    await window.inside("m.applyEtas({ etas: { [arg]: null, '0123456789abcdef01234567': null } })", run)
    gate.set()
    await expect(page.locator(".panel.progress .left")).to_have_text("")
