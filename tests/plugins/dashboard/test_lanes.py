"""The timeline of the overview: the counts of the server, bucket by bucket, and what it says about the rest."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import Page, expect
from random_log import NOW, served_log  # type: ignore[import-not-found]  # in the folder of the demo

from gnomon import Job
from gnomon.durations import Duration
from gnomon.testing import VirtualClock
from gnomon.testing.kernels import make_kernel
from gnomon_stats import StatsPlugin
from gnomon_web import WebPlugin
from gnomon_web.config import Config

GONE = ("ERR_CONNECTION", "WebSocket connection")
HOURS = {"1h": 1, "6h": 6, "24h": 24, "7d": 168, "30d": 720}
STATES = {"f": "failed", "m": "missed", "c": "cancelled", "s": "success"}


async def works(fails: bool = False) -> None:
    if fails:
        raise ValueError("no")


async def answer(page: Page, path: str) -> Any:
    return await page.evaluate("(path) => fetch(path).then((answer) => answer.json())", path)


async def lanes_of(page: Page, hours: int) -> Any:
    since = (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return await answer(page, f"/scheduler/lanes?from={since}&buckets=100")


async def test_every_window_shows_the_counts_of_the_server(open_page: Any) -> None:
    async with served_log(seed=4) as (_, url):
        window = await open_page(url, "/", allowed=GONE)
        page = window.page
        for name, hours in HOURS.items():
            await window.follow("/", "" if name == "24h" else f"window={name}")
            await window.loaded()
            found = await lanes_of(page, hours)
            total = found["all"]["total"]
            label = f"Timeline of {len(found['lanes'])} jobs: {sum(total.values()):,} runs, {total['failed']} failed"
            await expect(page.locator("svg.lanes")).to_have_attribute("aria-label", label)
            await expect(page.locator(".lane-names li")).to_have_text([lane["name"] for lane in found["lanes"]])
            marks = page.locator(".lanes .mark:not(.notch):not(.running)")
            seen = sum(len(lane["worst"].replace(".", "")) for lane in found["lanes"])
            # The first bucket of a lane may end before the window, which begins within it.
            assert await marks.count() in range(seen - len(found["lanes"]), seen + 1)
            assert await page.locator(".lanes .mark.running").count() == sum(one["running"] for one in found["lanes"])


async def test_a_click_leads_to_the_runs_that_ended_in_the_bucket(open_page: Any) -> None:
    # Why did a job fail? One click on its red mark, where that stands for one run.
    async with served_log(seed=5, runs=400) as (_, url):
        window = await open_page(url, "/?window=7d", allowed=GONE)
        page = window.page
        await window.loaded()
        found = await lanes_of(page, 168)
        begin, width = datetime.fromisoformat(found["from"]), timedelta(seconds=found["bucket_s"])
        buckets = [
            (lane, begin + index * width, STATES[letter], lane[STATES[letter]][index])
            for lane in found["lanes"]
            for index, letter in enumerate(lane["worst"])
            if letter in "fs" and index > 0
        ]
        for lane, since, status, count in (min(buckets, key=lambda one: one[3]), max(buckets, key=lambda one: one[3])):
            await window.follow("/", "window=7d")
            await window.loaded()
            mark = page.locator(
                f".lanes a[href*='job_id={lane['job_id']}'][href*='since={since.strftime('%Y-%m-%dT%H%%3A%M')}']"
            )
            await mark.dispatch_event("click", {"button": 0})
            if count == 1:
                await page.wait_for_url(re.compile(r"/runs/[0-9a-f]{24}$"))
                ids = [page.url.rpartition("/")[2]]
            else:
                await page.wait_for_url(f"**/runs?job_id={lane['job_id']}&status={status}&since=*")
                await window.loaded()
                ids = await page.locator("tr[data-row]").evaluate_all("rows => rows.map((row) => row.dataset.row)")
            runs = [await answer(page, f"/scheduler/executions/{one}") for one in ids]
            assert {(run["job_id"], run["status"]) for run in runs} == {(lane["job_id"], status)}
            assert sum(since <= datetime.fromisoformat(run["updated_at"]) < since + width for run in runs) == count


async def test_runs_that_end_are_counted_at_once_and_jobs_that_are_cut_are_said(open_page: Any, serve: Any) -> None:
    jobs = [Job(id=f"job-{number:02}", name=f"Job {number}", func=works) for number in range(24)]
    served = await serve(*jobs, plugins=[StatsPlugin()])
    for job in jobs[:22]:
        await served.kernel.wait(
            (await served.kernel.trigger(job.id, kwargs={"fails": job.id == "job-07"})).execution.id
        )
    window = await open_page(served.url, "/")
    page, names = window.page, window.page.locator(".lane-names li")
    await expect(names).to_have_count(20)
    await expect(names.first).to_have_text("Job 7")  # the one that failed
    await expect(page.locator(".timeline")).to_contain_text(
        "20 of 22 jobs with runs in this time, those with failures first; 2 runs of the others are not shown."
    )

    async def run(job_id: str, *, fails: bool) -> None:
        await served.kernel.wait((await served.kernel.trigger(job_id, kwargs={"fails": fails})).execution.id)

    chart = page.locator("svg.lanes")
    await run("job-21", fails=True)
    await expect(chart).to_have_attribute("aria-label", "Timeline of 20 jobs: 23 runs, 2 failed")
    await page.get_by_text("Show as table").click()
    await expect(page.locator(".as-table tr", has_text="Job 21").locator("td").nth(1)).to_have_text("1")
    # A job that has no lane gets one a little later.
    await run("job-23", fails=True)
    await expect(chart).to_have_attribute("aria-label", "Timeline of 20 jobs: 24 runs, 3 failed")
    await expect(page.locator(".lane-names")).to_contain_text("Job 23")
    await expect(chart).to_have_attribute("aria-label", "Timeline of 20 jobs: 24 runs, 3 failed")


async def test_without_statistics_the_timeline_says_that_it_shows_the_newest_runs_alone(open_page: Any) -> None:
    clock, web = VirtualClock(datetime(2026, 11, 25, tzinfo=UTC)), WebPlugin(Config(port=0))

    async def often() -> None:
        if clock.now().minute == 7:
            raise ValueError("no")

    job = Job(id="often", func=often, every=Duration(seconds=45))
    async with make_kernel(job, clock=clock, plugins=[web]) as kernel:
        await clock.advance(timedelta(hours=14))
        window = await open_page(web.url, "/", allowed=GONE)
        page = window.page
        await expect(page.locator(".timeline")).to_contain_text(
            re.compile(r"Only the newest 200 of 1,1\d\d runs, since .*: the plugin stats, .* is not enabled\.")
        )
        await expect(page.locator(".lanes .unknown")).to_be_attached()
        label = await page.locator("svg.lanes").get_attribute("aria-label")
        failed = [
            run for run in (await answer(page, "/scheduler/logs?limit=200"))["items"] if run["status"] == "failed"
        ]
        assert label == f"Timeline of 1 job: 200 runs, {len(failed)} failed"
        await kernel.wait((await kernel.trigger("often")).execution.id)
        await expect(page.locator("svg.lanes")).to_have_attribute("aria-label", re.compile(r": 201 runs"))
        await window.follow("/", "window=1h")
        await window.loaded()
        await expect(page.locator(".timeline")).not_to_contain_text("newest")
