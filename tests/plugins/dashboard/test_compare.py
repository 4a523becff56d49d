"""This week against the last: how few clicks lead there, and that the page shows the figures of the server."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import expect

from gnomon import Duration, Job
from gnomon.client import Client
from gnomon.testing import VirtualClock
from gnomon.testing.kernels import make_kernel
from gnomon_stats import StatsPlugin
from gnomon_web import WebPlugin
from gnomon_web.config import Config

DAY = timedelta(days=1)
START = datetime(2026, 11, 1, tzinfo=UTC)


def job(seconds: float, clock: VirtualClock, *, fails_every: int = 10**6) -> Job:
    runs = itertools.count(1)

    async def work() -> None:
        await clock.sleep(seconds)
        if next(runs) % fails_every == 0:
            raise ValueError("no prices of this day")

    return Job(id="load", name="Nightly load", func=work, every=Duration(hours=4), description=f"takes {seconds} s")


async def test_this_week_against_the_last_takes_two_clicks_and_shows_the_figures_of_the_server(open_page: Any) -> None:
    clock, web = VirtualClock(START), WebPlugin(Config(port=0))
    rare = Job(id="rare", name="Rare", func=clock.sleep, kwargs={"seconds": 5}, every=Duration(days=2))
    async with make_kernel(job(60, clock), rare, clock=clock, plugins=[web, StatsPlugin()]) as kernel:
        await clock.advance(7 * DAY)
        await kernel.apply_jobs([job(240, clock, fails_every=5), rare], actor="ann")
        await clock.advance(7 * DAY - timedelta(hours=2))
        async with Client(web.url) as client:
            week, day = await client.compare_periods(), await client.compare_periods(span=DAY)
        window = await open_page(web.url, "/", allowed=("ERR_CONNECTION_REFUSED",))  # it ends before the page
        page = window.page

        await page.get_by_role("link", name="Jobs").first.click()
        await page.get_by_role("link", name="Compare", exact=True).click()

        found = week.jobs[0]
        await expect(page.locator("h1")).to_have_text("Compare periods")
        row = page.get_by_role("row").filter(has_text="Nightly load")
        await expect(row).to_contain_text(f"×{found.shift.p50:.2f}".rstrip("0").rstrip("."))
        await expect(row).to_contain_text("slower")
        await expect(row).to_contain_text("description, by ann")
        assert (found.job_id, found.findings) == ("load", ["slower", "fails_more"])
        assert found.shift.success_rate is not None
        await expect(row).to_contain_text(f"{found.shift.success_rate * 100:.0f} points")
        await expect(page.get_by_role("row").filter(has_text="Rare")).to_contain_text("too few runs")
        await expect(page.get_by_role("row").nth(1)).to_contain_text("All jobs")
        assert found.period.success >= week.least["p95"]

        await page.get_by_role("button", name="Day", exact=True).click()
        await expect(page).to_have_url(f"{web.url}/compare?span=24h")
        await expect(row).to_contain_text("too few runs")
        assert "p95" in next(one for one in day.jobs if one.job_id == "load").too_few
        # The chart of the durations has a time axis: the change is where the bars get longer.
        await window.follow("/jobs/load")
        await expect(page.locator("svg.durations .change line")).to_have_count(1)
        begin = float(await page.locator("svg.durations .change line").get_attribute("x1") or 0)
        tops = await page.locator("svg.durations a rect").evaluate_all(
            "all => all.map((one) => [Number(one.getAttribute('x')), Number(one.getAttribute('height'))])"
        )
        assert min(height for x, height in tops if x > begin) > max(height for x, height in tops if x < begin)
        await expect(page.locator(".changes")).to_contain_text("description · ann")
        await expect(page.locator("svg.durations .delay")).to_have_count(0)
        await window.follow("/compare", "job=load&span=30d")
        await expect(row).to_contain_text("new")
        await expect(row).to_contain_text("was 0")
        await expect(row).not_to_contain_text("too few runs")  # there is nothing to compare with, and "new" says so
        await expect(page.get_by_role("navigation", name="Breadcrumb")).to_contain_text("Nightly load")


async def test_a_server_without_statistics_says_so(open_page: Any, serve: Any) -> None:
    served = await serve(job(1, VirtualClock(START)))
    window = await open_page(served.url, "/compare", allowed=("404",))

    await expect(window.page.locator("main")).to_contain_text("has no plugin “stats”")
