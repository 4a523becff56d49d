"""The activity page: acts with their actors and reasons, and the way to it from a job."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import expect

from clicks import COUNT_CLICKS
from gnomon import Job, UnknownJobError


async def waits() -> None:
    await asyncio.Event().wait()


async def quick() -> None:
    """A job that returns at once."""


async def test_who_paused_a_job_and_why_takes_two_clicks_and_the_rest_of_its_history_one_more(
    open_page: Any, day: str
) -> None:
    window = await open_page(day, "/")
    page = window.page
    await page.evaluate(COUNT_CLICKS)
    await page.get_by_role("link", name="1 job paused").click()
    await page.get_by_role("link", name="Old files").click()
    paused = page.get_by_label("Next runs")
    await expect(paused).to_contain_text("by mei")
    await expect(paused).to_contain_text("until the disk is replaced")
    assert await page.evaluate("window.clicks") == 2
    await page.get_by_role("link", name="All activity of this job").click()
    await page.wait_for_url("**/activity?job_id=cleanup")

    rows = page.locator(".acts tbody tr")
    await expect(rows.first).to_contain_text("paused the job")
    await expect(rows.first.locator(".why")).to_have_text("until the disk is replaced")
    await rows.first.get_by_role("button", name="mei").click()
    await page.wait_for_url("**/activity?job_id=cleanup&actor=mei")
    await expect(rows).to_have_count(1)


async def test_acts_appear_as_they_happen_with_reasons_links_and_refusals(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="tick", func=waits), Job(id="sync", func=quick))
    window = await open_page(served.url, "/activity")
    page, rows = window.page, window.page.locator(".acts tbody tr")
    await expect(page.get_by_text("Nobody has done anything yet.")).to_be_visible()

    run = (await served.kernel.trigger("tick", actor="ann")).execution.id
    await served.kernel.cancel(run, actor="bob", reason="wrong market")
    await served.kernel.hold(actor="cid", reason="moving house")
    with pytest.raises(UnknownJobError):
        await served.kernel.pause("tik", actor="ann")
    await expect(rows).to_have_count(4)
    await expect(rows.nth(0)).to_contain_text("Refused")
    await expect(rows.nth(1)).to_contain_text("held all fires")
    await expect(rows.nth(2).locator(".why")).to_have_text("wrong market")
    await expect(rows.nth(3).get_by_role("link", name="Run")).to_have_attribute("href", re.compile(run))
    await expect(page.locator(".head .count")).to_have_text("4")

    await page.get_by_role("button", name="Refused only").click()
    await expect(rows).to_have_count(1)
    await page.get_by_role("button", name="Clear filters").click()
    await page.get_by_role("combobox", name="Act", exact=True).select_option("held all fires")
    await expect(rows).to_have_count(1)
    await page.get_by_role("combobox", name="Act", exact=True).select_option("Every act")
    await page.get_by_label("Anyone").fill("bob")
    await page.get_by_label("Anyone").press("Enter")
    await expect(rows).to_have_count(1)
    await page.get_by_role("combobox", name="Period").select_option("-1h")
    await page.wait_for_url("**/activity?actor=bob&since=-1h")  # the address keeps the distance, not the moment
    await expect(rows.nth(0)).to_contain_text("requested cancellation of a run")
    await window.follow("/activity", "since=2100-01-01T00:00:00Z")
    await expect(page.get_by_role("combobox", name="Period")).to_contain_text("since")
    await expect(page.get_by_text("Nobody has done anything that matches.")).to_be_visible()
    await page.locator("main .empty").get_by_role("button", name="Clear filters").click()
    await rows.nth(2).get_by_role("link", name="Run").click()
    await page.wait_for_url(f"**/runs/{run}")


async def test_a_long_history_is_read_page_by_page_up_to_a_limit(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="sync", func=quick))
    for number in range(140):
        await served.kernel.pause("sync", actor="ann", reason=f"number {number}")
        await served.kernel.resume("sync", actor="ann")
    window = await open_page(served.url, "/activity")
    page, rows = window.page, window.page.locator(".acts tbody tr")
    await expect(rows).to_have_count(50)

    await page.route("**/scheduler/history*", lambda route: route.abort())
    await page.get_by_role("button", name="Show more").click()
    await expect(page.get_by_role("alert")).to_contain_text("Loading failed")
    window.errors.clear()  # that the request failed
    await page.unroute("**/scheduler/history*")
    await page.get_by_role("button", name="Try again").click()
    await expect(rows).to_have_count(100)
    await served.kernel.describe("sync", note="new", actor="bob")  # while more than one page is shown
    await expect(rows.first).to_contain_text("edited the name or note")
    await expect(rows).to_have_count(101)
    for count in (151, 201, 250):
        await page.get_by_role("button", name="Show more").click()
        await expect(rows).to_have_count(count)
    await expect(page.locator(".foot")).to_contain_text("The newest 250 of 281 acts are shown")
    shown = await rows.locator(".why").all_text_contents()
    assert [text for text in shown if text.startswith("number")] == [
        f"number {number}" for number in range(139, 15, -1)
    ]
