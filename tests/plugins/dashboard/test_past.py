"""The time machine and the choice of a zone: every page shows a moment of the log, and nobody acts there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from playwright.async_api import expect

from gnomon.domain.records import ExecutionQuery

SHANGHAI = ZoneInfo("Asia/Shanghai")  # that of the browser
NAMES_OF_RUNS = "[...document.querySelectorAll('.run .name')].map((one) => one.innerText.trim())"


def field(at: datetime) -> str:
    return at.astimezone(SHANGHAI).strftime("%Y-%m-%dT%H:%M:%S")


async def test_what_was_running_at_a_time_takes_one_click_and_a_time(open_page: Any, kernel_of_day: Any) -> None:
    kernel, url = kernel_of_day
    ended = (await kernel.executions(ExecutionQuery(job_id="financials", status=("success",), limit=1))).items[0]
    moment = ended.timestamp.replace(microsecond=0) + timedelta(seconds=14)
    past = await kernel.at(moment)
    running = (await past.executions(ExecutionQuery(status=("running",)))).items
    assert ended.id in [run.id for run in running]

    window = await open_page(url, "/")
    page = window.page
    await page.get_by_role("button", name="Show the past").click()
    bar = page.get_by_role("region", name="Time machine")
    await bar.get_by_label("Date and time").fill(field(moment))
    await bar.get_by_label("Date and time").blur()
    names = sorted({(await kernel.job(run.job_id)).job.title for run in running})
    await window.becomes(f"{NAMES_OF_RUNS}.length", len(running))
    await window.becomes(f"[...new Set({NAMES_OF_RUNS})].sort()", names)
    await expect(bar.get_by_role("status")).to_contain_text(moment.astimezone(SHANGHAI).strftime("%H:%M:%S"))
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)

    # Every page keeps the moment, and shows what was then.
    await page.get_by_role("link", name="Runs", exact=True).click()
    await page.wait_for_url("**/runs?at=*")
    total = (await past.executions(ExecutionQuery())).total
    await expect(page.locator(".head .count")).to_have_text(f"{total:,}")
    await page.get_by_role("link", name="Jobs", exact=True).click()
    await expect(page.locator("tr[data-row]")).to_have_count(len(await past.jobs()))
    await expect(page.get_by_role("button", name="Run now")).to_have_count(0)
    await page.keyboard.press("t")
    await expect(page.locator("dialog")).to_have_count(0)
    await page.locator("tr[data-row] a", has_text="Financial statements").click()
    await expect(page.locator(".run-list .badge").first).to_have_text("Running")
    await window.go(f"/runs/{ended.id}?at={moment.isoformat().replace('+00:00', 'Z')}")
    await expect(page.locator(".head .badge")).to_have_text("Running")

    await page.get_by_role("button", name="Back to now").click()
    await page.wait_for_url(f"{url}/runs/{ended.id}")
    await expect(page.locator(".head .badge")).to_have_text("Succeeded")
    await expect(page.get_by_role("button", name="Run now")).to_be_visible()
    await expect(page.get_by_role("region", name="Time machine")).to_have_count(0)


async def test_the_scrubber_moves_by_minutes_and_by_events(open_page: Any, kernel_of_day: Any) -> None:
    kernel, url = kernel_of_day
    ended = (await kernel.executions(ExecutionQuery(job_id="news", status=("success",), limit=1))).items[0]
    start = ended.timestamp + timedelta(minutes=5)
    window = await open_page(url, f"/alerts?at={start.isoformat().replace('+00:00', 'Z')}")
    slider = window.page.get_by_role("slider", name="Moment")

    async def moves(keys: str, to: datetime) -> None:
        await slider.focus()
        await window.page.keyboard.press(keys)
        await window.becomes("Math.round(Date.parse(m.pastReport.peek().at) / 1000)", round(to.timestamp()))

    await moves("ArrowLeft", start - timedelta(minutes=1))
    await moves("ArrowRight", start)
    before = (await kernel.at(start)).health().moment.before
    await moves("Shift+ArrowLeft", before.at - timedelta(milliseconds=1))
    await moves("Shift+ArrowRight", before.at)
    await slider.fill(str(round(start.timestamp() * 1000) // 60_000 * 60_000))
    await window.page.wait_for_url("**/alerts?at=*")
    await window.page.get_by_role("button", name="Before the previous event").click()
    await expect(window.page.locator(".density i").first).to_be_attached()
    await window.page.get_by_text("Show as table").first.click()
    await expect(window.page.locator(".past-bar tbody tr").first).to_be_visible()


async def test_a_time_before_the_log_says_where_it_begins(open_page: Any, day: str) -> None:
    window = await open_page(day, "/?at=-1h", allowed=("404",))
    page = window.page
    await page.goto(f"{day}/?at=2001-01-01T00:00:00Z")  # no view is shown there
    await expect(page.get_by_role("alert")).to_contain_text("the log begins at 2026-")
    await page.get_by_role("button", name="Back to now").click()
    await expect(page.locator(".counters")).to_be_visible()
    assert await window.inside("m.asOf('/scheduler/forecast')") == "/scheduler/forecast"
    await window.inside("m.refine({ at: '-1h' })")
    asked = {
        "/scheduler/forecast": None,
        "/scheduler/jobs?x=1": "/scheduler/jobs?x=1&at=-1h",
        "/scheduler/jobs/a": "/scheduler/jobs/a?at=-1h",
        "/scheduler/executions/b/events": "/scheduler/executions/b/events?at=-1h",
        "/scheduler/executions/b/explain": "/scheduler/executions/b/explain?at=-1h",
        "/scheduler/jobs/a/explain": "/scheduler/jobs/a/explain",
        "/scheduler/compare?span=7d": "/scheduler/compare?span=7d&to=-1h",
        "/scheduler/alerts/c": "/scheduler/alerts/c?at=-1h",
        "/scheduler/logs?at=now": "/scheduler/logs?at=now",
        "/scheduler/lanes?from=-2h": "/scheduler/lanes?from=-2h&to=-1h",
        "/scheduler/jobs/a/lane?to=now": "/scheduler/jobs/a/lane?to=now",
        "/session": "/session",
    }
    assert await window.inside("arg.map(m.asOf)", list(asked)) == list(asked.values())
    assert "past moments" in await window.inside("m.get('/scheduler/forecast').catch((error) => error.message)")


async def test_times_are_shown_in_the_chosen_zone_with_its_name(open_page: Any, day: str) -> None:
    window = await open_page(day, "/runs")
    page = window.page
    first = page.locator("tr[data-row] time").first
    at = datetime.fromisoformat(str(await first.get_attribute("datetime"))).astimezone(UTC)
    await expect(first).to_contain_text(at.astimezone(SHANGHAI).strftime("%H:%M"))
    await page.get_by_label("Time zone").select_option("UTC")
    await expect(first).to_have_text(re.compile(rf"{at:%H:%M}.* UTC$"))
    await window.reload()
    await expect(first).to_have_text(re.compile(rf"{at:%H:%M}.* UTC$"))
    assert (
        await window.inside("m.fromWallTime(m.wallTime(arg))", round(at.timestamp()) * 1000)
        == round(at.timestamp()) * 1000
    )

    await page.get_by_label("Time zone").select_option("job")
    await window.inside("m.jobZone.value = 'Europe/Berlin'")
    await expect(page.get_by_label("Time zone").locator("option:checked")).to_have_text("Job: Europe/Berlin")
    berlin = at.astimezone(ZoneInfo("Europe/Berlin"))
    await expect(first).to_have_text(re.compile(rf"{berlin:%H:%M}.* GMT\+1$"))
    await window.follow("/jobs/financials")
    await expect(page.get_by_label("Time zone").locator("option:checked")).to_have_text("Job: UTC")
