"""Acts on single fires, past fires, many jobs and runs, and the whole kernel."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

from playwright.async_api import expect

from gnomon import ExecutionQuery, Job


async def quick() -> None:
    """A job that returns at once."""


async def waits() -> None:
    await asyncio.Event().wait()


def hourly(**keys: Any) -> Job:
    given: dict[str, Any] = {"id": "tick", "func": quick, "cron": "0 * * * *", **keys}
    return Job(**given)


async def confirm(page: Any, name: str) -> None:
    await page.locator("dialog[open]").get_by_role("button", name=name, exact=True).click()
    await expect(page.locator("dialog[open]")).to_have_count(0)


async def log_in(window: Any, secret: str) -> None:
    await window.page.get_by_label("Token").fill(secret)
    await window.page.get_by_role("button", name="Log in").click()
    await expect(window.page.get_by_role("link", name="Overview")).to_be_visible()


# --- single fires ---


async def test_the_next_fire_is_skipped_and_the_skip_is_withdrawn(open_page: Any, serve: Any) -> None:
    served = await serve(hourly(cron="0 0 1 1 *"))  # none is due during the test
    window = await open_page(served.url, "/jobs/tick")
    page, panel = window.page, window.page.get_by_label("Next runs")
    form = page.locator("dialog[open]")

    await expect(panel.locator(".times li")).to_have_count(10)
    first = await panel.locator(".times time").first.get_attribute("datetime")
    await panel.get_by_role("button", name="Skip", exact=True).click()
    await expect(form.get_by_role("combobox", name="Fire")).to_have_value(re.compile(r"-12-31T16:00|-01-01T00:00"))
    await form.get_by_label("Reason").fill("stocktaking")
    await confirm(page, "Skip fire")
    skipped = panel.locator(".times .skipped")
    await expect(skipped).to_contain_text("skipped by local")
    await expect(skipped).to_contain_text("stocktaking")
    await expect(skipped.locator("time")).to_have_attribute("datetime", first)
    await expect(page.locator(".audit")).to_contain_text("local skipped a fire")
    [skip] = (await served.kernel.job("tick")).state.skips
    assert (skip.at, skip.reason) == (datetime.fromisoformat(first), "stocktaking")

    await skipped.get_by_role("button", name="Undo skip").click()
    await expect(page.locator(".toasts")).to_contain_text("tick runs again at")
    await expect(skipped).to_have_count(0)
    assert (await served.kernel.job("tick")).state.skips == ()


async def test_a_given_time_is_skipped_and_one_that_is_no_fire_is_refused(open_page: Any, serve: Any) -> None:
    served = await serve(hourly(cron="0 0 1 1 *", timezone="Asia/Shanghai"))
    window = await open_page(served.url, "/jobs/tick", allowed=("Failed to load resource",))
    page, form = window.page, window.page.locator("dialog[open]")
    year = datetime.now(UTC).year + 20  # later than those that are listed

    await page.get_by_label("Next runs").get_by_role("button", name="Skip", exact=True).click()
    await form.get_by_role("combobox", name="Fire").select_option("Another time")
    await form.get_by_label("Time", exact=True).fill(f"{year}-01-01T00:30")
    await form.get_by_role("button", name="Skip fire").click()
    await expect(form.get_by_role("alert")).to_contain_text("tick")
    await form.get_by_label("Time", exact=True).fill(f"{year}-01-01T00:00")
    await confirm(page, "Skip fire")

    await expect(page.locator(".times .skipped")).to_contain_text("skipped by local")
    [skip] = (await served.kernel.job("tick")).state.skips
    assert skip.at == datetime.fromisoformat(f"{year - 1}-12-31T16:00Z")  # the page is in Shanghai


# --- past fires ---


async def test_a_backfill_says_how_many_fires_it_has_and_runs_them(open_page: Any, serve: Any) -> None:
    served = await serve(hourly(timezone="UTC"))
    window = await open_page(served.url, "/jobs/tick", allowed=("Failed to load resource",))
    page, form = window.page, window.page.locator("dialog[open]")

    await page.get_by_role("button", name="Backfill", exact=True).click()
    await expect(form.locator(".count")).to_have_text(re.compile("2[45] fires in this time"))
    await form.get_by_label("From").fill("")
    await expect(form.locator(".count")).to_have_text("Give the begin and the end.")
    await form.get_by_label("From").fill("2026-01-01T10:00")
    await form.get_by_label("To", exact=True).fill("2026-01-01T14:00")
    await expect(form.locator(".count")).to_have_text("5 fires in this time")
    await form.get_by_label("Rate limit").fill("often")
    await form.get_by_role("button", name="Start backfill").click()
    await expect(form.get_by_role("alert")).to_contain_text("often")
    await form.get_by_label("Rate limit").fill("")
    await form.get_by_label("At once").check()
    await form.get_by_label("Reason").fill("late data")
    await confirm(page, "Start backfill")
    await expect(page.locator(".toasts")).to_contain_text("Backfill of tick started: 5 fires.")
    await expect(page.locator(".facts", has_text="Runs").first).to_contain_text("5")
    await expect(page.locator(".backfill")).to_have_count(0)
    await expect(page.locator(".audit")).to_contain_text("local started a backfill")

    runs = (await served.kernel.executions(ExecutionQuery(job_id="tick"))).items
    hours = sorted(run.scheduled_time for run in runs if run.cause == "backfill")
    assert hours == [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(2, 7)]


async def test_a_backfill_shows_how_far_it_is_and_is_stopped(open_page: Any, serve: Any) -> None:
    served = await serve(hourly(func=waits, timezone="UTC"))
    window = await open_page(served.url, "/jobs/tick")
    page, progress = window.page, window.page.locator(".backfill")

    await served.kernel.backfill("tick", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 4, tzinfo=UTC))
    await expect(progress).to_contain_text("1 of 5 fires done")
    await expect(progress.get_by_role("progressbar", name="Backfill")).to_have_attribute("max", "5")
    await progress.get_by_role("button", name="Stop backfill").click()
    await confirm(page, "Keep running")
    assert (await served.kernel.job("tick")).state.backfill is not None
    await progress.get_by_role("button", name="Stop backfill").click()
    await confirm(page, "Stop backfill")
    await expect(progress).to_have_count(0)

    view = await served.kernel.job("tick")
    assert (view.state.backfill, len(view.running)) == (None, 1)


async def test_a_job_without_a_schedule_has_no_fires_to_skip_or_to_run(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="manual", func=quick))
    window = await open_page(served.url, "/jobs/manual")
    panel = window.page.get_by_label("Next runs")

    await expect(panel).to_contain_text("only when triggered")
    await expect(panel.get_by_role("button")).to_have_count(0)


# --- the whole kernel ---


async def test_a_hold_is_shown_to_everyone_until_it_is_released(
    open_page: Any, serve: Any, secrets: dict[str, str]
) -> None:
    served = await serve(hourly(), guarded=True)
    windows = {}
    for role in ("viewer", "operator"):
        windows[role] = await open_page(served.url, "/jobs", allowed=("HTTP Authentication failed", "401"))
        await log_in(windows[role], secrets[role])
    viewer, page = windows["viewer"].page, windows["operator"].page

    await windows["operator"].follow("/jobs", "panel=system")
    await page.get_by_role("button", name="Hold all fires").click()
    question = page.locator("dialog.question")
    await question.get_by_label("Reason").fill("moving house")
    await question.get_by_role("button", name="Hold fires").click()
    await expect(page.locator(".toasts")).to_contain_text("All fires are held.")
    await expect(page.get_by_role("button", name="Hold all fires")).to_have_count(0)
    await page.keyboard.press("Escape")
    for one in (page, viewer):
        await expect(one.locator(".held")).to_contain_text("All fires are held by operator")
        await expect(one.locator(".held")).to_contain_text("moving house")
    await expect(viewer.locator(".held button")).to_have_count(0)
    hold = served.kernel.health().hold
    assert (hold.actor, hold.reason) == ("operator", "moving house")

    await page.get_by_role("button", name="Release fires").click()
    await confirm(page, "Keep holding")
    await page.get_by_role("button", name="Release fires").click()
    await confirm(page, "Release fires")
    for one in (page, viewer):
        await expect(one.locator(".held")).to_have_count(0)
    assert served.kernel.health().hold is None


# --- many at once ---


async def test_the_runs_of_the_jobs_with_a_tag_are_cancelled_after_a_dialog_counts_them(
    open_page: Any, serve: Any
) -> None:
    jobs = [Job(id=f"job{n}", func=waits, tags=["night"] if n < 2 else [], max_instances=2) for n in range(3)]
    served = await serve(*jobs)
    runs = [(await served.kernel.trigger(f"job{n}")).execution.id for n in (0, 0, 1, 2)]
    window = await open_page(served.url, "/jobs?tag=night")
    page, form = window.page, window.page.locator("dialog[open]")

    await page.get_by_label("Select all").check()
    await page.get_by_role("button", name="Cancel 3 runs").click()
    await expect(form.get_by_role("heading")).to_have_text("Cancel these 3 runs?")
    await expect(form.locator(".names li")).to_have_text(["job0 ×2", "job1"])
    await form.get_by_label("Reason").fill("wrong prices")
    await confirm(page, "Cancel 3 runs")
    await expect(page.locator(".toasts")).to_contain_text("Cancellation of 3 runs requested.")
    ended = [await served.kernel.wait(run) for run in runs[:3]]
    await expect(page.get_by_role("button", name=re.compile("^Cancel"))).to_have_count(0)

    assert {(one.status, one.reason) for one in ended} == {("cancelled", "wrong prices")}
    assert (await served.kernel.execution(runs[3])).status == "running"


async def test_the_runs_that_a_filter_shows_are_cancelled(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="sync", func=waits, max_instances=9), Job(id="other", func=waits))
    await served.kernel.trigger("other")
    for tenant in ("7", "7", "8"):
        await served.kernel.trigger("sync", labels={"tenant": tenant})
    window = await open_page(served.url, "/runs?label=tenant:7")
    page, form = window.page, window.page.locator("dialog[open]")

    await page.get_by_role("button", name="Cancel these runs").click()
    await expect(form.get_by_role("heading")).to_have_text("Cancel these 2 runs?")
    await confirm(page, "Keep running")
    await page.get_by_role("button", name="Cancel these runs").click()
    await confirm(page, "Cancel 2 runs")
    await expect(page.locator("tbody .badge", has_text="Cancelled")).to_have_count(2)
    await expect(page.get_by_role("button", name="Cancel these runs")).to_have_count(0)

    still = (await served.kernel.executions(ExecutionQuery(status=("running",)))).items
    assert sorted((run.job_id, run.labels.get("tenant")) for run in still) == [("other", None), ("sync", "8")]


async def test_runs_that_have_ended_in_between_are_not_counted(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="sync", func=waits, max_instances=9))
    first, second = [(await served.kernel.trigger("sync")).execution.id for _ in range(2)]
    window = await open_page(served.url, "/runs?status=running")
    page = window.page

    await page.get_by_role("button", name="Cancel these runs").click()
    await expect(page.locator("dialog[open]").get_by_role("heading")).to_have_text("Cancel these 2 runs?")
    await served.kernel.cancel(first)
    await served.kernel.wait(first)
    await confirm(page, "Cancel 2 runs")

    await expect(page.locator(".toasts")).to_contain_text("Cancellation of 1 run requested.")  # of those that match now
    assert (await served.kernel.wait(second)).status == "cancelled"


async def test_viewers_have_no_buttons_of_operators(open_page: Any, serve: Any, secrets: dict[str, str]) -> None:
    served = await serve(hourly(func=waits), guarded=True)
    await served.kernel.trigger("tick")
    window = await open_page(served.url, "/jobs/tick", allowed=("HTTP Authentication failed", "401"))
    await log_in(window, secrets["viewer"])

    await expect(window.page.locator(".times li")).to_have_count(10)
    for path, query in (("/jobs/tick", ""), ("/jobs", ""), ("/runs", ""), ("/jobs", "panel=system")):
        await window.follow(path, query)
        await window.loaded()
        for name in ("Skip", "Backfill", "Cancel 1 run", "Cancel these runs", "Hold all fires"):
            await expect(window.page.get_by_role("button", name=name, exact=True)).to_have_count(0)
