"""Why a run failed: how few clicks lead to it, and that the page says what the server has found."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import expect

from gnomon import Context, Duration, Job, RunOrder
from gnomon.domain.execution import Execution
from gnomon_alerts import AlertsPlugin

NEWER_RUNS = 10_000


async def load(ctx: Context, market: str = "cn") -> None:
    log = logging.getLogger("app")
    ctx.step("fetch")
    log.warning("fetched from %s", market)
    ctx.step("store")
    if market == "us":
        log.error("the market is closed")
        raise ValueError("no prices of this day")


async def quick() -> None: ...


@pytest.fixture
def jobs() -> list[Job]:
    return [
        Job(id="load", func=load, name="Nightly load", cron="0 3 1 1 *", timeout=Duration(minutes=5)),
        Job(id="other", func=quick, overlap="allow", max_instances=1_000),
    ]


async def fail(kernel: Any) -> Execution:
    """Run the job once with success and once without, with an act in between, and return the failed run."""
    await kernel.wait((await kernel.trigger("load", actor="anna")).execution.id)
    await kernel.pause("load", actor="ben", reason="the source moves")
    await kernel.resume("load", actor="ben")
    run: Execution = await kernel.wait((await kernel.trigger("load", kwargs={"market": "us"})).execution.id)
    return run


async def test_why_last_nights_job_failed_takes_two_clicks_below_ten_thousand_newer_runs(
    open_page: Any, serve: Any, jobs: list[Job]
) -> None:
    served = await serve(*jobs, plugins=[AlertsPlugin()])
    run = await fail(served.kernel)
    newer = await served.kernel.trigger_many([RunOrder("other")] * NEWER_RUNS, when_full="wait")
    await served.kernel.wait_many([one.execution.id for one in newer])
    window = await open_page(served.url, "/")
    page, clicks = window.page, 0

    await page.locator(f'main a[href*="{run.id}"]').first.click()
    clicks += 1
    if not page.url.endswith("/why"):
        await page.get_by_role("link", name="Why?").click()
        clicks += 1

    await expect(page.locator("h1")).to_have_text("Why: Nightly load")
    await expect(page.locator(".error h2")).to_contain_text("no prices of this day")
    assert clicks <= 2
    compared = page.get_by_role("region", name="Compared with the last success")
    await expect(compared.get_by_role("row").filter(has_text="market")).to_contain_text("us")
    await expect(page.get_by_role("region", name="Log", exact=True)).to_contain_text("the market is closed")
    await expect(page.get_by_role("region", name="Done in between")).to_contain_text("ben paused the job")
    said = (await served.kernel.explain_run(run.id)).sentences
    await expect(page.locator(".sentences p")).to_have_count(len(said))
    assert [await one.inner_text() for one in await page.locator(".sentences p").all()] == said


async def test_the_steps_of_two_runs_stand_side_by_side_and_in_a_table(
    open_page: Any, serve: Any, jobs: list[Job]
) -> None:
    served = await serve(*jobs)
    run = await fail(served.kernel)
    found = await served.kernel.compare_run(run.id)
    window = await open_page(served.url, f"/runs/{run.id}/why?to={found.other.id}", allowed=("404",))
    page = window.page

    await expect(page.get_by_role("region", name="Compared with another run")).to_be_visible()
    await page.get_by_label("Compare with").select_option("the last success")
    await expect(page).to_have_url(f"{served.url}/runs/{run.id}/why")
    await expect(page.get_by_role("region", name="Compared with the last success")).to_be_visible()
    await page.get_by_label("Compare with").select_option(found.other.id)
    await expect(page.get_by_role("region", name="Compared with another run")).to_be_visible()
    steps = page.get_by_role("region", name="Steps")
    await expect(steps.locator(".waterfall li")).to_have_count(2)
    await steps.get_by_text("Show as table").click()
    for step in found.steps:
        row = steps.get_by_role("row").filter(has_text=step.name)
        await expect(row).to_contain_text("failed" if step.status == "failed" else "completed")
    await window.follow(f"/runs/{run.id}")
    await expect(page.locator(".progress .waterfall li .failed")).to_have_count(1)
    await page.get_by_role("link", name="Why?").click()
    await expect(page).to_have_url(f"{served.url}/runs/{run.id}/why")
    await window.follow(f"/runs/{'0' * 24}/why")
    await expect(page.locator("h1")).to_have_text("Run not found")


async def test_a_job_is_explained_at_the_time_that_is_asked_for(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs/financials/why")
    page = window.page
    await expect(page.locator(".sentences p").first).to_contain_text("The last fire of financials was due at")

    await page.get_by_role("textbox", name="Time").fill("2026-11-25T01:00")
    await page.keyboard.press("Enter")

    await expect(page.locator(".sentences")).to_contain_text("has no fire at 2026-11-25 01:00 UTC")
    await expect(page).to_have_url(f"{day}/jobs/financials/why?fire=2026-11-25T01%3A00")
    await page.get_by_role("link", name="Explain 2026").first.click()
    await expect(page.locator(".sentences p").first).to_contain_text("financials was due at")
    await expect(page.get_by_role("region", name="Runs")).to_be_visible()
    await page.get_by_role("link", name="Why?").first.click()
    await expect(page.locator("h1")).to_contain_text("Why: Financial statements")


async def test_what_the_log_says_is_chinese_on_the_chinese_page(open_page: Any, serve: Any, jobs: list[Job]) -> None:
    served = await serve(*jobs)
    run = await fail(served.kernel)
    said = (await served.kernel.explain_run(run.id)).statements
    window = await open_page(served.url, f"/runs/{run.id}/why", locale="zh-CN")
    sentences = window.page.locator(".sentences p")

    await expect(sentences).to_have_count(len(said))
    await expect(sentences.filter(has_text="没有再次重试")).to_have_count(1)
    await expect(sentences.filter(has_text=re.compile("后失败.*no prices of this day"))).to_have_count(1)
    for text in await sentences.all_text_contents():
        assert re.search("[\u4e00-\u9fff]", text), text
        assert "{" not in text


async def test_why_answers_with_what_was_known_at_the_moment_that_the_page_shows(
    open_page: Any, serve: Any, jobs: list[Job]
) -> None:
    served = await serve(*jobs)
    run = await fail(served.kernel)
    at = (await served.kernel.events())[-1].at.isoformat()
    good = (await served.kernel.compare_run(run.id)).other
    await served.kernel.hide(good.id, actor="ann")
    window = await open_page(served.url, f"/runs/{run.id}/why?at={quote(at)}")
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    await window.reload()
    await window.loaded()

    assert [one for one in asked if "/difference" in one]
    assert all("at=" in one for one in asked if "/explain" in one or "/difference" in one)
    await expect(window.page.locator("h1")).to_have_text("Why: Nightly load")
