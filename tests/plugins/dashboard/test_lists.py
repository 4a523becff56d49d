"""The lists of runs and jobs as operators use them: late runs, queries, orders, views, files, acts on all that match."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from playwright.async_api import Page, expect

from gnomon import ExecutionQuery, Job
from gnomon.domain.events import Started
from gnomon.testing.histories import append, failed, succeeded
from gnomon_sqlite import SqliteStore

RUNS = 120
BEGIN = datetime.now(UTC) - timedelta(hours=5)


async def quick(n: int = 0) -> int:
    return n


async def waits() -> None:
    await asyncio.Event().wait()


JOBS = [Job(id="etl", func=quick, tags=["night", "big, slow"], name="Import"), Job(id="report", func=quick)]


async def filled(path: Path) -> SqliteStore:
    """Return a store with runs a minute apart: the n-th began n seconds late, each tenth failed, each 20th was otto's."""
    histories = []
    for n in range(RUNS):
        how: dict[str, Any] = {"is_manual": n % 20 == 0, "actor": "otto" if n % 20 == 0 else None}
        at, job = BEGIN + timedelta(minutes=n), ("etl", "report")[n % 2]
        make = failed if n % 10 == 9 else succeeded
        history = make(job, at, **({"error": f"=no answer, from shard {n}"} if make is failed else {}), **how)
        histories.append(
            [msgspec.structs.replace(one, delay=float(n)) if isinstance(one, Started) else one for one in history]
        )
    async with SqliteStore(path) as store:
        await append(store, *histories)
    return SqliteStore(path)


class Clicks:
    """Counts the clicks of an operator: each choice counts, also one in a list of choices."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.count = 0

    async def on(self, name: str, **more: Any) -> None:
        self.count += 1
        await self.page.get_by_role("button", name=name, **more).click()

    async def open(self, name: str) -> None:
        self.count += 1
        await self.page.locator("summary", has_text=name).click()

    async def choose(self, label: str, value: str) -> None:
        self.count += 1
        await self.page.get_by_label(label, exact=True).select_option(value)


async def shown(page: Page) -> list[str]:
    """Return the ids of the rows, in order."""
    ids: list[str] = await page.locator("tr[data-row]").evaluate_all("rows => rows.map((row) => row.dataset.row)")
    return ids


async def answered(page: Page, act: Any) -> Any:
    """Act, and wait until the list has been read again."""
    async with page.expect_response(re.compile(r"/scheduler/logs\?")) as response:
        await act
    await (await response.value).finished()
    await expect(page.locator("[aria-busy]")).to_have_count(0)


async def test_all_late_runs_are_listed_sorted_and_saved_as_a_file_in_few_clicks(
    open_page: Any, serve: Any, tmp_path: Path
) -> None:
    served = await serve(*JOBS, kernel={"store": await filled(tmp_path / "log.db")})
    everything = (await served.kernel.executions(ExecutionQuery(limit=1_000))).items
    late = sorted((run for run in everything if (run.delay or 0) > 60), key=lambda run: -(run.delay or 0))
    window = await open_page(served.url, "/runs")
    page, clicks = window.page, Clicks(window.page)

    await clicks.choose("Late", "1m")
    await expect(page.locator(".head .count")).to_have_text(str(len(late)))
    await expect(page.locator("[data-search]")).to_have_value("late>1m")
    await answered(page, clicks.on("Late", exact=True))
    await page.wait_for_url("**/runs?query=late%3E1m&sort=-late")
    assert (await shown(page))[:50] == [run.id for run in late[:50]]
    assert clicks.count == 2  # all late runs, the latest first

    await expect(page.get_by_role("columnheader", name="Late")).to_have_attribute("aria-sort", "descending")
    await page.get_by_role("button", name="Show more").click()
    await expect(page.locator("tr[data-row]")).to_have_count(len(late))
    assert await shown(page) == [run.id for run in late]

    await clicks.open("Download")
    await expect(page.locator(".drop[open] .dropped")).to_contain_text(f"All {len(late)} rows of this list")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(await (await download.value).path()).read_text(), newline="")))
    assert clicks.count + 1 == 4
    assert [row["_id"] for row in rows] == [run.id for run in late]
    assert {row["error_message"][:11] for row in rows if row["status"] == "failed"} == {"'=no answer"}
    async with page.expect_download() as download:
        await page.get_by_role("link", name="JSON lines").click()
    lines = Path(await (await download.value).path()).read_text().splitlines()
    assert [json.loads(line)["_id"] for line in lines] == [run.id for run in late]

    await page.keyboard.press("Escape")
    await expect(page.locator(".drop[open] a")).to_have_count(0)
    await answered(page, page.reload())
    assert (await shown(page))[:50] == [run.id for run in late[:50]]
    await page.get_by_label("Late", exact=True).select_option("")
    await expect(page.locator(".head .count")).to_have_text(str(RUNS))


async def test_a_query_is_typed_with_suggestions_and_errors_say_where(
    open_page: Any, serve: Any, tmp_path: Path
) -> None:
    served = await serve(*JOBS, kernel={"store": await filled(tmp_path / "log.db")})
    window = await open_page(served.url, "/runs?query=status:failed+manual:false", allowed=("400 (Bad Request)",))
    page, field = window.page, window.page.locator("[data-search]")
    options, count = page.locator("#query-suggestions [role=option]"), page.locator(".head .count")
    await expect(count).to_have_text("12")

    await field.fill("")
    await field.press("Enter")
    await expect(count).to_have_text(str(RUNS))
    await field.press("ArrowDown")
    await expect(options.first).to_have_text(re.compile(r"^status:how it ended"))
    await field.press("Escape")
    await expect(options).to_have_count(0)
    await field.press_sequentially("ta")
    await expect(options).to_have_text(["tag:tag of the job"])
    await field.press("ArrowDown")
    await expect(field).to_have_attribute("aria-activedescendant", "suggestion-0")
    await field.press("Enter")
    await expect(options).to_have_text(['"big, slow"', "night"])
    await field.press("ArrowUp")
    await field.press("Tab")
    await expect(field).to_have_value("tag:night ")
    await expect(count).to_have_text("60")
    await field.press_sequentially("by:")
    await expect(options).to_have_text(["otto"])
    await options.first.click()
    await expect(field).to_have_value("tag:night by:otto ")
    await expect(count).to_have_text("6")
    await expect(options).to_have_count(0)
    await page.get_by_role("button", name="Succeeded").click()
    await expect(field).to_have_value("status:success tag:night by:otto")
    await page.wait_for_url("**/runs?query=tag%3Anight+by%3Aotto&status=success")
    await page.go_back()
    await expect(field).to_have_value("tag:night by:otto")

    await field.fill("late>soon")
    await field.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text(
        "at character 6: expected a duration such as 30s, 5m or 1h 30m, got 'soon'"
    )
    await expect(field).to_have_attribute("aria-invalid", "true")
    await field.fill('"shard 9" job:re*')
    await field.press("Enter")
    await expect(page.get_by_role("alert")).to_have_count(0)
    await expect(count).to_have_text("2")  # of shards 9 and 99
    await page.get_by_role("button", name="Clear filters").click()
    await expect(count).to_have_text(str(RUNS))


async def test_a_query_for_jobs_goes_to_the_server_where_the_page_cannot_answer(open_page: Any, serve: Any) -> None:
    served = await serve(*JOBS)
    window = await open_page(served.url, "/jobs?query=owner:nobody", allowed=("400 (Bad Request)",))
    page, field = window.page, window.page.locator("[data-search]")
    await expect(page.locator(".empty")).to_contain_text("No jobs match.")
    await field.fill("statsu:failing")
    await field.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text(
        "at character 1: there is no key 'statsu'; did you mean 'status'?"
    )
    await field.fill('tag:"big, slow"')
    await field.press("Enter")
    await expect(page.locator("tr[data-row]")).to_have_count(1)
    await page.get_by_role("button", name="Job", exact=True).click()
    await page.wait_for_url("**&sort=-job")
    await field.fill("")
    await field.press("Enter")
    await expect(page.locator("tr[data-row]")).to_have_count(2)
    assert await shown(page) == ["report", "etl"]


async def test_a_view_is_saved_shared_by_link_and_imported(open_page: Any, serve: Any, tmp_path: Path) -> None:
    served = await serve(*JOBS, kernel={"store": await filled(tmp_path / "log.db")})
    granted = ["clipboard-read", "clipboard-write"]
    window = await open_page(served.url, "/runs?status=failed&query=late%3E1m&sort=-late", permissions=granted)
    page, clicks = window.page, Clicks(window.page)
    await expect(page.locator(".head .count")).to_have_text("6")

    await clicks.open("Views")
    await expect(page.locator(".drop[open] .dropped")).to_contain_text("No saved views of this list.")
    await page.get_by_label("Name of this view").fill("Late failures")
    await page.keyboard.press("Enter")
    await expect(page.locator(".views a")).to_have_text(["Late failures"])
    await clicks.on("Copy a link to Late failures")
    await expect(page.locator(".toasts")).to_contain_text("Link copied.")
    assert clicks.count == 2  # saved by name and shared
    link = str(await page.evaluate("navigator.clipboard.readText()"))
    await page.get_by_label("Name of this view").fill("All late")
    await page.keyboard.press("Enter")
    await expect(page.locator(".views a")).to_have_text(["All late", "Late failures"])

    await page.locator("h1").click()
    await page.get_by_role("button", name="Clear filters").click()
    await expect(page.locator(".head .count")).to_have_text(str(RUNS))
    await window.reload()
    await page.locator("summary", has_text="Views").click()
    await page.get_by_role("link", name="Late failures").click()
    await expect(page.locator(".head .count")).to_have_text("6")
    for name in ("Late failures", "All late"):
        await page.get_by_role("button", name=f"Delete {name}").click()
    await expect(page.locator(".views")).to_have_count(0)

    other = await open_page(served.url, link.removeprefix(served.url))
    await expect(other.page.locator(".head .count")).to_have_text("6")
    await expect(other.page.locator(".brought")).to_contain_text("This link shows the view “Late failures”.")
    await other.page.locator(".brought").get_by_role("button", name="Save view").click()
    await expect(other.page.locator(".brought")).to_have_count(0)
    await other.page.locator("summary", has_text="Views").click()
    await expect(other.page.locator(".views a")).to_have_text(["Late failures"])
    await other.page.goto(f"{served.url}/runs?view=Strange")
    await other.page.get_by_role("button", name="Don’t save").click()
    await other.page.wait_for_url(f"{served.url}/runs")


async def test_columns_density_and_order_are_chosen_and_remembered(open_page: Any, serve: Any, tmp_path: Path) -> None:
    served = await serve(*JOBS, kernel={"store": await filled(tmp_path / "log.db")})
    window = await open_page(served.url, "/runs")
    page, heads = window.page, window.page.get_by_role("columnheader")
    await expect(heads).to_have_text(["Status", "Job", re.compile("^Started"), "Duration", "Progress", "Started by"])

    await page.locator("summary", has_text="Columns").click()
    await page.get_by_label("Progress", exact=True).uncheck()
    await page.locator(".drop[open] .dropped").get_by_label("Late", exact=True).check()
    await page.get_by_label("Dense rows").check()
    await answered(page, page.get_by_label("Sort by").select_option("by"))
    await window.reload()
    await expect(heads).to_have_text(["Status", "Job", "Started", "Late", "Duration", re.compile("^Started by")])
    await expect(page.locator(".panel.dense")).to_have_count(1)
    await expect(page.locator("tr[data-row]").first.locator("td").last).to_have_text("otto")
    for name, first in (("Job", "etl"), ("Status", "Failed"), ("Duration", "Failed"), ("Started", "Failed")):
        await answered(
            page,
            page.get_by_role("columnheader", name=name, exact=name != "Started").first.get_by_role("button").click(),
        )
        await expect(page.locator("tr[data-row]").first).to_contain_text(first if first != "etl" else "Import")

    await window.follow("/jobs")
    await page.locator("summary", has_text="Columns").click()
    await page.get_by_label("Recent").uncheck()
    await expect(page.get_by_role("columnheader", name="Recent")).to_have_count(0)
    await page.get_by_role("button", name="Last run").click()
    await page.wait_for_url("**/jobs?sort=-last")
    await expect(page.locator("tr[data-row]").first).to_contain_text("report")
    await served.kernel.trigger("etl")
    await expect(page.locator("tr[data-row]").first).to_contain_text("Import")  # the order follows the runs


async def test_all_that_match_run_again_or_are_cancelled_after_a_dialog_counts_them(
    open_page: Any, serve: Any, tmp_path: Path
) -> None:
    stuck = Job(id="stuck", func=waits, tags=["night"], max_instances=9, overlap="allow")
    served = await serve(*JOBS, stuck, kernel={"store": await filled(tmp_path / "log.db")})
    for actor in ("ann", "bob", "ann"):
        await served.kernel.trigger("stuck", actor=actor)
    window = await open_page(served.url, "/runs?status=failed&query=late%3E30s+tag:none")
    page, form, clicks = window.page, window.page.locator("dialog[open]"), Clicks(window.page)
    await expect(page.locator(".empty")).to_contain_text("No runs match.")
    await expect(page.get_by_role("button", name="Run these again")).to_have_count(0)

    await window.follow("/runs", "status=failed&query=late%3E30s")
    await expect(page.locator(".head .count")).to_have_text("9")
    await clicks.on("Run these again")
    await expect(form.get_by_role("heading")).to_have_text("Run these 9 runs again?")
    await expect(form.locator("code")).to_have_text("status:failed late>30s")
    await clicks.on("Run all 9 again")
    await expect(page.locator(".toasts")).to_contain_text("9 runs started.")
    assert clicks.count == 2
    again = (await served.kernel.executions(ExecutionQuery(actors=("local",)))).items
    assert [run.job_id for run in again] == ["report"] * 9

    await window.follow("/runs", "query=by:ann+tag:night")
    await expect(page.locator(".head .count")).to_have_text("2")
    await clicks.on("Cancel these runs")
    await expect(form.get_by_role("heading")).to_have_text("Cancel these 2 runs?")
    await form.get_by_label("Reason").fill("wrong input")
    await clicks.on("Cancel 2 runs")
    await expect(page.locator(".toasts")).to_contain_text("Cancellation of 2 runs requested.")
    await expect(page.locator("tbody .badge", has_text="Cancelled")).to_have_count(2)  # read again from the server
    assert clicks.count == 4
    still = (await served.kernel.executions(ExecutionQuery(status=("running",)))).items
    assert [run.actor for run in still] == ["bob"]
    await page.get_by_role("button", name="Cancel these runs").click()
    await expect(page.locator(".toasts")).to_contain_text("No run is in progress.")
