"""The forecast page: the fires to come, their expected ends, and what is left out."""

from __future__ import annotations

import importlib
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest_asyncio
from playwright.async_api import expect

from gnomon import Duration, Job, hookimpl
from gnomon_stats import StatsPlugin

CLOSED = "the exchange is closed"


async def quick() -> None:
    """A job that returns at once."""


class Exchange:
    """Is closed all the time, for the job `prices`."""

    @hookimpl
    def guard(self, job: Job, scheduled_time: datetime) -> str | None:
        return CLOSED if job.id == "prices" else None

    @hookimpl(optionalhook=True)
    def register_closures(self, register: Any) -> None:
        register(self.guard)


@pytest_asyncio.fixture(loop_scope="session")
async def morning() -> AsyncIterator[str]:
    """The URL of a server with statistics of six hours of the demo's day."""
    async with importlib.import_module("day").served_day(6, StatsPlugin()) as (_, url):
        yield url


async def test_the_next_two_hours_are_two_clicks_away_and_say_what_the_server_expects(
    morning: str, open_page: Any
) -> None:
    window = await open_page(morning, "/")
    page, rows = window.page, window.page.locator("table.fires tbody tr[data-row]")
    await page.get_by_role("link", name="Forecast").click()
    await page.get_by_role("button", name="next 2 h").click()
    await page.wait_for_url("**/forecast?window=2h")
    await window.loaded()

    found = await page.evaluate("fetch('/scheduler/forecast?to=%2B2h&fires=500').then((answer) => answer.json())")
    listed = sorted((run["at"], job["name"], run) for job in found["jobs"] for run in job["runs"])
    assert len(listed) > 10
    await expect(rows).to_have_count(len(listed))
    names = await rows.locator("th a").all_text_contents()
    assert sorted(names) == sorted(name for _, name, _ in listed)
    assert any(run["ends"] for _, _, run in listed)
    shown = await rows.locator("td:nth-child(4)").all_text_contents()
    assert len([text for text in shown if text != "–"]) == len([run for _, _, run in listed if run["ends"]])
    runs = found["totals"]["run"]
    await page.get_by_role("button", name=re.compile(f"^{runs} ?runs$")).click()
    await expect(rows).to_have_count(runs)
    await expect(page.locator("svg.forecast a .mark.run")).to_have_count(runs)
    await page.locator("svg.forecast a[tabindex='0']").focus()
    await page.keyboard.press("Home")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/jobs/*")


async def test_misses_are_foreseen_with_their_reasons_and_what_is_cut_is_said(open_page: Any, serve: Any) -> None:
    def every(name: str, minutes: float, **keys: Any) -> Job:
        return Job(id=name, func=quick, every=Duration(minutes=minutes), **keys)

    served = await serve(
        every("often", 0.5),
        every("quarterly", 15, tags=["etl"], labels={"tenant": "7"}),
        every("steady", 1.5),
        every("prices", 60),
        every("resting", 60, paused=True),
        plugins=[StatsPlugin(), Exchange()],
    )
    window = await open_page(served.url, "/forecast")
    page, rows = window.page, window.page.locator("table.fires tbody tr[data-row]")
    closed = page.get_by_role("button", name="blocked by a guard")
    await expect(closed).to_be_visible()
    notes = page.locator(".quiet-line", has_text="are listed")
    await expect(notes).to_contain_text(re.compile(r"The first 500 of [34],\d+ fires are listed\."))
    await expect(notes).to_contain_text("1 job fires every minute or more often: shown as a rate.")
    await expect(page.locator("svg.forecast .rate")).to_have_count(1)
    await expect(page.locator("svg.forecast .unknown")).to_have_count(1)
    await closed.click()
    await expect(rows.first.locator(".why")).to_have_text(CLOSED)
    await page.get_by_role("button", name="blocked by a guard").click()
    await window.follow("/jobs/prices")
    await expect(page.locator(".times li").first).to_contain_text(f"blocked by a guard: {CLOSED}")
    await window.follow("/forecast")

    await page.get_by_label("Tag").fill("etl")
    await page.get_by_label("Tag").press("Enter")
    await expect(page.locator(".lane-names li")).to_have_text(["quarterly"])
    await page.get_by_role("button", name="next 7 d").click()
    await expect(page.locator(".quiet-line")).to_contain_text(re.compile(r"The first 500 of 67\d fires"))
    await served.kernel.hold(reason="moving house")
    await expect(page.get_by_role("button", name=re.compile(r"67\d ?held"))).to_be_visible()
    await page.get_by_role("button", name="Clear filters").click()
    await page.get_by_label("Label").fill("tenant")
    window.errors.clear()
    await page.get_by_label("Label").press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("expected a label")
    window.errors.clear()  # that the request was refused
    await page.get_by_label("Label").fill("tenant:8")
    await page.get_by_label("Label").press("Enter")
    await expect(page.get_by_text("Nothing is due in this period.").first).to_be_visible()


async def test_a_server_without_statistics_says_what_the_forecast_needs(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="tick", func=quick))
    window = await open_page(served.url, "/forecast")

    await expect(window.page.get_by_text("Forecasts need the plugin stats")).to_be_visible()
