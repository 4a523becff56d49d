"""Hundreds of jobs: the page loads what it shows, says what it loads, and finds what it does not hold."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from playwright.async_api import expect

from gnomon import Job
from gnomon.durations import Duration


async def works(fails: bool = False) -> None:
    if fails:
        raise ValueError("no")


def name_of(number: int) -> str:
    return f"job-{number:04}"


JOBS = [
    Job(
        id=name_of(number),
        name=f"Job {number}",
        func=works,
        every=Duration(days=1 + number % 9),
        tags=["rare"] if number % 200 == 3 else [],
        description="a needle in it" if number == 431 else "",
    )
    for number in range(450)
]


async def test_a_list_of_hundreds_of_jobs_holds_the_rows_that_are_seen(open_page: Any, serve: Any) -> None:
    served = await serve(*JOBS)
    failed = name_of(400)
    await served.kernel.wait((await served.kernel.trigger(failed, kwargs={"fails": True})).execution.id)
    window = await open_page(served.url, "/", allowed=("500",))
    page, rows = window.page, window.page.locator("tr[data-row]")
    await expect(page.locator(".lane-names")).to_contain_text("Job 400")  # that with a failure
    held = await window.inside("m.jobs.size")
    assert held == 200

    # What is loading says so, and a failure can be tried again.
    gate = asyncio.Event()

    async def hold(route: Any) -> None:
        await gate.wait()
        await route.fulfill(status=500, content_type="application/problem+json", body='{"title":"","detail":"away"}')

    await page.route("**/scheduler/job-states", hold)
    await window.follow("/jobs")
    await expect(page.locator(".head .count")).to_have_text("…")
    gate.set()
    await expect(page.get_by_role("alert")).to_contain_text("away")
    await page.unroute("**/scheduler/job-states")
    await page.get_by_role("button", name="Try again").click()

    await expect(page.locator(".head .count")).to_have_text("450")
    await expect(rows.first).to_have_attribute("data-row", name_of(0))
    assert await rows.count() < 120
    await expect(page.locator("table.jobs")).to_have_attribute("aria-rowcount", "451")
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.locator(f"tr[data-row='{name_of(449)}']")
    await expect(last).to_be_in_viewport()
    await expect(last.locator(".schedule")).to_contain_text("every")  # requested when it came into view
    await window.loaded()
    assert await rows.count() < 120

    # Filters look at all jobs, also at those that the page does not hold.
    await page.locator("[data-search]").fill("job-044")
    await expect(rows).to_have_count(10)
    await page.locator("[data-search]").fill("needle")
    await expect(rows).to_have_attribute("data-row", name_of(431))
    await page.locator("[data-search]").fill("")
    await page.get_by_label("Tag").select_option("rare")
    await expect(rows).to_have_count(3)
    await page.get_by_role("button", name="Failing").click()
    await expect(page.locator(".empty")).to_contain_text("No jobs match.")
    await page.get_by_role("button", name="Clear filters").click()
    await page.get_by_role("button", name="Failing").click()
    await expect(rows).to_have_attribute("data-row", failed)

    # Recent bars are those of the store, then of events.
    await expect(rows.locator(".spark .mark")).to_have_count(1)
    await served.kernel.wait((await served.kernel.trigger(failed, kwargs={"fails": True})).execution.id)
    await expect(rows.locator(".spark .mark.failed")).to_have_count(2)
    await page.get_by_role("button", name="All", exact=True).click()
    await page.get_by_label("Select all 450").check()
    await page.get_by_role("button", name="Pause 450").click()
    await expect(page.locator("dialog[open] .names li")).to_have_count(450)
    await page.keyboard.press("Escape")


async def test_what_the_page_does_not_hold_is_requested(open_page: Any, serve: Any) -> None:
    served = await serve(*JOBS)
    missing = name_of(449)
    await served.kernel.wait((await served.kernel.trigger(name_of(3), kwargs={"fails": True})).execution.id)
    window = await open_page(served.url, "/", allowed=("500", "ERR_FAILED"))
    page = window.page
    assert await window.inside("m.jobs.has(arg)", missing) is False
    await page.route("**/js/views/job.js", lambda route: route.abort())
    await page.evaluate("history.pushState(null, '', arguments)".replace("arguments", f"'/jobs/{missing}'"))
    await page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    await expect(page.get_by_role("alert")).to_contain_text("Loading failed")
    await page.unroute("**/js/views/job.js")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("h1")).to_have_text("Job 449")
    await expect(page.locator(".schedule-words")).to_contain_text("every")

    problem = '{"title":"Internal Server Error","status":500,"detail":"no bars today"}'
    await page.route(
        re.compile("fields=recent"),
        lambda route: route.fulfill(status=500, content_type="application/problem+json", body=problem),
    )
    await window.follow("/jobs", "tag=rare")
    await expect(page.locator("td", has_text="not loaded").first).to_be_visible()

    await window.follow("/runs")
    await page.get_by_label("Job", exact=True).fill(name_of(3))
    await page.get_by_label("Job", exact=True).press("Enter")
    await page.wait_for_url("**/runs?job_id=job-0003")
    await expect(page.locator("tr[data-row]")).to_have_count(1)
    await expect(page.locator("datalist option")).to_have_count(450)


async def test_the_jobs_that_fire_next_are_those_of_the_server_whatever_the_page_holds(
    open_page: Any, serve: Any
) -> None:
    soon = [Job(id=f"soon-{n}", name=f"Soon {n}", func=works, every=Duration(minutes=5 + n)) for n in range(9)]
    busy = [Job(id=f"busy-{n:03}", func=works, every=Duration(days=9)) for n in range(210)]
    served = await serve(*busy, *soon)
    failed = [await served.kernel.trigger(job.id, kwargs={"fails": True}) for job in busy]
    await served.kernel.wait_many([one.execution.id for one in failed])
    window = await open_page(served.url, "/")
    coming = window.page.get_by_role("region", name="Coming up").locator("li a")

    await expect(coming).to_have_text([f"Soon {n}" for n in range(7)])  # the snapshot holds the failing ones
    await served.kernel.pause("soon-0", actor="ann")
    await served.kernel.pause("soon-3", actor="ann")
    await expect(coming).to_have_text([f"Soon {n}" for n in (1, 2, 4, 5, 6, 7, 8)])
