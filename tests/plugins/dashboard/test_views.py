"""What each view shows, and that its URL holds all of its state: filters, history, the rewound moment."""

from __future__ import annotations

import asyncio
import importlib
import re
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import expect

from gnomon import Context, Job, hookimpl
from gnomon.durations import Duration


async def first_of(window: Any, query: str) -> str:
    """Return the id of the newest matching run."""
    found: str = await window.page.evaluate(
        f"fetch('/scheduler/logs?limit=1&{query}').then(r => r.json()).then(p => p.items[0]._id)"
    )
    return found


# --- overview ---


async def test_the_overview_shows_active_runs_next_fires_and_the_last_day(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    page = window.page

    await expect(page.locator(".run .name")).to_have_text(["Daily bars", "Financial statements"])
    await expect(page.locator(".run", has_text="Daily bars")).to_contain_text("fetch")
    await expect(page.locator(".run .left").first).to_contain_text("left")
    await expect(page.locator(".coming-up li").first).to_contain_text(re.compile(r"^\s*Realtime quotes"))
    await expect(page.locator(".foot", has_text="paused")).to_contain_text("1 job paused")
    failed = page.locator(".counter.failed")
    await expect(failed.locator(".figure")).not_to_have_text("–")
    count = int(await failed.locator(".figure").inner_text())  # nothing more happens there
    await failed.click()
    await page.wait_for_url("**/runs?status=failed&since=-24h")
    await expect(page.locator(".head .count")).to_have_text(str(count))
    await expect(page.locator("td .badge")).to_have_text(["Failed"] * count)


async def test_the_timeline_has_a_lane_for_each_job_and_a_choice_of_windows(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    page = window.page
    await expect(page.locator(".lanes .coming").first).to_be_attached()
    await window.loaded()
    await expect(page.locator(".lane-names li")).to_have_count(7)
    many = await page.locator(".lanes .mark").count()

    await page.get_by_role("button", name="1 h", exact=True).click()
    await page.wait_for_url("**/?window=1h")
    await window.loaded()
    await expect(page.locator(".lanes .mark")).not_to_have_count(many)
    await expect(page.locator(".tick").first).to_be_attached()


async def test_every_chart_is_also_available_as_a_table(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    page = window.page
    tables = page.locator(".as-table table")

    await page.get_by_text("Show as table").click()
    await expect(page.locator(".lane-names li")).to_have_count(7)
    await expect(tables.locator("tbody th")).to_have_text(await page.locator(".lane-names li").all_inner_texts())
    await expect(tables.locator("tr", has_text="Old files").locator("td").first).to_have_text("1")

    await window.follow("/jobs/financials")
    await window.loaded()
    await expect(page.get_by_text("Show as table")).to_have_count(2)
    for summary in await page.get_by_text("Show as table").all():
        await summary.click()
    await expect(tables.nth(0).locator("tbody tr a").first).to_be_visible()
    await expect(page.locator(".durations a").first).to_be_attached()
    await expect(page.locator(".durations .delay").first).to_be_attached()  # the fire that the pause held back
    bars = await page.locator(".durations a").evaluate_all(
        "bars => bars.map((bar) => bar.getAttribute('href')).reverse()"
    )
    links = await tables.nth(0).locator("tbody a").evaluate_all("all => all.map((link) => link.getAttribute('href'))")
    assert bars
    assert set(bars) <= set(links)
    hours = tables.nth(1).locator("tbody th")
    await expect(hours.first).to_be_visible()
    assert all(re.fullmatch(r"\w{3} \d\d:00", hour) for hour in await hours.all_inner_texts())


async def test_a_run_that_ends_moves_to_the_timeline_without_a_reload(open_page: Any, serve: Any) -> None:
    gate = asyncio.Event()

    async def gated(ctx: Context) -> None:
        ctx.progress(25, "a quarter")
        await gate.wait()

    served = await serve(Job(id="gated", func=gated))
    window = await open_page(served.url, "/")
    page = window.page
    await expect(page.locator(".quiet-line").first).to_contain_text("Nothing is running.")

    run = (await served.kernel.trigger("gated", actor="anna")).execution.id
    await expect(page.locator(".run .message")).to_have_text("a quarter")
    await expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "25")
    await expect(page.locator(".counter.running .figure")).to_have_text("1")
    gate.set()
    await served.kernel.wait(run)

    await expect(page.locator(".run")).to_have_count(0)
    await expect(page.locator(".counter.success .figure")).to_have_text("1")
    await expect(page.locator(".lanes .mark.success")).to_have_count(1)


async def test_a_page_without_jobs_says_what_to_do_and_shows_the_first_job_at_once(open_page: Any, serve: Any) -> None:
    served = await serve()
    window = await open_page(served.url, "/", permissions=["clipboard-read", "clipboard-write"])
    page = window.page
    await expect(page.locator("h1")).to_have_text("No jobs yet")
    await page.get_by_role("button", name="Copy: In the config file").click()
    await expect(page.get_by_role("button", name="Copy: In the config file")).to_have_text("Copied")
    assert 'func = "gnomon_chores:shell"' in await page.evaluate("navigator.clipboard.readText()")
    await expect(page.locator(".example pre").last).to_contain_text(re.compile(r"-> None:\n    for name in"))

    async def hello() -> None: ...

    await served.kernel.add_job(Job(id="hello", func=hello, every=Duration(hours=1)), temporary=True)
    await expect(page.locator(".coming-up")).to_contain_text("hello")


# --- lists ---


async def test_jobs_are_filtered_by_text_state_and_tag_and_going_back_undoes_it(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs")
    page, rows = window.page, window.page.locator("tr[data-row]")
    await expect(rows).to_have_count(7)
    await page.get_by_label("Tag").select_option("market")
    await expect(rows).to_have_count(3)
    await page.locator("[data-search]").fill("tag:market bars")
    await expect(rows).to_have_count(1)
    await page.wait_for_url("**/jobs?tag=market&q=bars")
    await page.get_by_role("button", name="Paused").click()
    await expect(page.locator(".empty")).to_contain_text("No jobs match.")
    await page.go_back()
    await expect(rows).to_have_count(1)
    await page.go_back()
    await expect(rows).to_have_count(7)
    await page.go_forward()
    await expect(rows).to_have_count(1)
    await window.go("/jobs?status=paused")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Old files")
    await page.get_by_role("button", name="Failing").click()
    await page.get_by_role("button", name="Running", exact=True).click()
    await expect(rows).to_have_count(2)
    await page.locator("[data-search]").fill("nothing like this")
    await page.get_by_role("button", name="Clear filters").click()
    await expect(rows).to_have_count(7)


async def test_runs_are_filtered_by_every_field_and_read_page_by_page(open_page: Any, day: str) -> None:
    window = await open_page(day, "/runs")
    page, rows = window.page, window.page.locator("tr[data-row]")
    await expect(rows).to_have_count(50)
    await page.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(100)
    ids = await rows.evaluate_all("rows => rows.map((row) => row.dataset.row)")
    assert len(set(ids)) == 100

    await page.get_by_role("button", name="Failed", exact=True).click()
    await page.get_by_role("button", name="Missed", exact=True).click()
    await page.wait_for_url("**/runs?status=failed*missed")
    await page.get_by_label("Job", exact=True).select_option("news")
    await expect(page.locator("td .badge").first).to_have_text("Failed")
    await page.get_by_label("Started by", exact=True).select_option("true")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("anna")
    await page.get_by_label("Period").select_option("-1h")
    await page.wait_for_url("**&since=-1h")
    await page.locator("[data-search]").fill("no such words")
    await expect(page.locator(".empty")).to_contain_text("No runs match.")
    await page.locator(".empty button").click()
    await expect(rows).to_have_count(50)
    await page.get_by_role("button", name="Failed", exact=True).click()
    await page.get_by_role("button", name="Failed", exact=True).click()
    await page.wait_for_url(f"{day}/runs")


async def test_a_rolling_view_is_shared_in_two_clicks_and_stays_rolling_or_is_fixed(open_page: Any, day: str) -> None:
    window = await open_page(day, "/runs?status=failed", permissions=["clipboard-read", "clipboard-write"])
    page = window.page

    async def shared(*clicks: str) -> str:
        for name in clicks:
            await page.get_by_role("button", name=name).click()
        await expect(page.locator(".toasts p").last).to_have_text("Link copied.")
        return str(await page.evaluate("navigator.clipboard.readText()"))

    assert await shared("Copy link") == f"{day}/runs?status=failed"
    await page.get_by_label("Period").select_option("-7d")
    rolling = await shared("Copy link", "Rolling")
    before = await window.inside("m.now.peek()")
    fixed = await shared("Copy link", "Fixed")
    assert rolling == f"{day}/runs?status=failed&since=-7d"

    after = await window.inside("m.now.peek()")
    query = parse_qs(urlsplit(fixed).query)
    since, until = (datetime.fromisoformat(query[key][0]) for key in ("since", "until"))
    assert before // 1000 <= until.timestamp() <= after / 1000
    assert until - since == timedelta(days=7)

    count = await page.locator(".head .count").inner_text()
    await window.go(rolling.removeprefix(day))
    await expect(page.get_by_label("Period").locator("option:checked")).to_have_text("last 7 d")
    await expect(page.locator(".head .count")).to_have_text(count)
    await window.go(fixed.removeprefix(day))
    await expect(page.get_by_label("Period").locator("option:checked")).to_have_text(re.compile(r"^\S.+ to \S.+$"))
    await window.go("/runs?until=-2h")
    await expect(page.get_by_label("Period").locator("option:checked")).to_have_text("until 2h ago")
    await window.go("/runs?since=-3d")
    await expect(page.get_by_label("Period").locator("option:checked")).to_have_text("since 3d ago")


async def test_new_runs_wait_at_the_top_while_the_list_is_scrolled_down(open_page: Any, serve: Any) -> None:
    async def quick() -> None: ...

    served = await serve(Job(id="quick", func=quick, max_instances=99))
    for _ in range(40):
        last = await served.kernel.trigger("quick", actor="test")
    await served.kernel.wait(last.execution.id)
    window = await open_page(served.url, "/runs")
    page = window.page
    await expect(page.locator("tr[data-row]")).to_have_count(40)
    await page.evaluate("scrollTo(0, 900)")
    await window.becomes("scrollY > 200")

    for _ in range(2):
        last = await served.kernel.trigger("quick", actor="test")
    await served.kernel.wait(last.execution.id)

    news = page.get_by_role("button", name="2 new")
    await expect(news).to_be_visible()
    await expect(page.locator("tr[data-row]")).to_have_count(40)
    await news.click()
    await expect(page.locator("tr[data-row]")).to_have_count(42)
    await expect(page.locator("tr[data-row]").first).to_have_attribute("data-row", last.execution.id)


async def test_a_list_left_open_stays_bounded_and_loses_nothing(open_page: Any, serve: Any) -> None:
    async def quick() -> None: ...

    served = await serve(Job(id="quick", func=quick, max_instances=999))
    window = await open_page(served.url, "/runs")
    rows = window.page.locator("tr[data-row]")

    for _ in range(230):
        last = await served.kernel.trigger("quick", actor="test")
    await served.kernel.wait(last.execution.id)
    await expect(window.page.locator(".head .count")).to_have_text("230")
    await expect(rows).to_have_count(200)
    await window.page.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(230)

    assert len(set(await rows.evaluate_all("rows => rows.map((row) => row.dataset.row)"))) == 230


@pytest.mark.parametrize(
    ("path", "answers", "shown"),
    [
        ("/", 5, {".counter.success .figure": "1", ".lanes .mark.success": ""}),
        ("/runs", 1, {"tr[data-row] .badge": "Succeeded", ".head .count": "1"}),
        ("/jobs/quick", 1, {".run-list li .badge": "Succeeded", ".durations .mark": ""}),
    ],
)
async def test_a_run_that_ends_during_a_request_is_not_lost(
    open_page: Any, serve: Any, path: str, answers: int, shown: dict[str, str]
) -> None:
    async def quick() -> None: ...

    served = await serve(Job(id="quick", func=quick))
    window = await open_page(served.url, "/jobs")
    asked, gate = asyncio.Semaphore(0), asyncio.Event()

    async def hold(route: Any) -> None:
        answer = await route.fetch()
        asked.release()
        await gate.wait()
        await route.fulfill(response=answer)

    await window.page.route("**/scheduler/logs*", hold)
    await window.follow(path)
    for _ in range(answers):
        await asked.acquire()
    await served.kernel.wait((await served.kernel.trigger("quick", actor="test")).execution.id)
    await window.becomes("m.finishedIds.peek().length", 1)
    gate.set()

    await window.loaded()
    for selector, text in shown.items():
        await expect(window.page.locator(selector)).to_have_text([re.compile(f"{text}$")])


@pytest.mark.parametrize("path", ["/", "/runs", "/jobs/news"])
async def test_a_failed_request_is_reported_and_can_be_retried(open_page: Any, day: str, path: str) -> None:
    window = await open_page(day, "/jobs", allowed=("500",))
    page = window.page
    problem = '{"title":"Internal Server Error","status":500,"detail":"the log is on fire"}'
    await page.route(
        "**/scheduler/logs*",
        lambda route: route.fulfill(status=500, content_type="application/problem+json", body=problem),
    )
    await window.follow(path)
    await expect(page.get_by_role("alert").first).to_contain_text("the log is on fire")

    await page.unroute("**/scheduler/logs*")
    await page.get_by_role("button", name="Try again").first.click()

    await expect(page.get_by_role("alert")).to_have_count(0)


# --- one job ---


async def test_a_job_shows_its_schedule_statistics_decisions_and_activity(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs/financials")
    page = window.page
    await expect(page.locator(".schedule-words")).to_contain_text("third hour")
    await expect(page.locator(".times li")).to_have_count(10)
    await expect(page.locator(".durations .mark").first).to_be_attached()
    await expect(page.locator(".decisions")).to_contain_text("the job was paused")
    await expect(page.locator(".audit")).to_contain_text("mei paused the job")
    await expect(page.locator(".panel", has_text="Definition")).to_contain_text("attempts 3")
    await expect(page.locator(".heat tbody tr")).to_have_count(7)
    await page.get_by_role("button", name="Failures").click()
    await page.wait_for_url("**/jobs/financials?heat=failures")
    await expect(page.locator(".heat.failures")).to_be_attached()
    await page.get_by_role("link", name="All runs of this job").click()
    await page.wait_for_url("**/runs?job_id=financials")


async def test_an_unknown_address_says_so(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs/nobody", allowed=("404",))
    page = window.page
    await expect(page.locator("h1")).to_have_text("Job nobody not found")
    await window.go("/runs/6b06e266e2ae0a18078f43ee")
    await expect(page.locator("h1")).to_have_text("Run not found")
    await window.follow("/nowhere")
    await expect(page.locator("h1")).to_have_text("Page not found")
    await page.get_by_role("link", name="Overview").last.click()
    await expect(page.locator(".counters")).to_be_visible()


# --- one run ---


async def test_a_run_is_rewound_to_any_of_its_events(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    failed = await first_of(window, "status=failed&q=timed")
    await window.follow(f"/runs/{failed}")
    page = window.page
    await expect(page.locator(".error")).to_be_visible()
    nodes = page.locator(".node strong")
    await expect(nodes.last).to_have_text("Failed")
    await expect(nodes.nth(0)).to_have_text("Scheduled")
    await expect(nodes.nth(1)).to_have_text("Started")

    await page.locator(".node", has_text="Started").get_by_role("button", name="Show the run as of event").click()
    await expect(page.locator(".rewound")).to_contain_text("Showing the run as of event #")
    await expect(page.locator(".head .badge")).to_have_text("Running")
    await expect(page.locator(".error")).to_have_count(0)
    await expect(page.locator(".head .big")).to_have_text("0s")
    await expect(page.locator(".head button")).to_have_count(0)
    await expect(page.locator(".node.later").first).to_be_visible()
    address = page.url
    await page.get_by_role("button", name="Back to the present").click()
    await expect(page.locator(".head .badge")).to_have_text("Failed")

    await window.go(address.removeprefix(day))
    await expect(page.locator(".head .badge")).to_have_text("Running")
    await window.back()
    await expect(page.locator(".head .badge")).to_have_text("Failed")
    await page.locator(".node .tools button").first.click()
    await expect(page.locator(".node .json")).to_contain_text('"type": "scheduled"')
    await page.get_by_role("button", name="JSON").click()
    await expect(page.locator(".events .json")).to_contain_text('"type": "failed"')
    await page.get_by_role("button", name="All events").click()
    await page.wait_for_url("**lens=all**")


async def test_a_missed_run_links_to_the_run_that_blocked_it(open_page: Any, serve: Any) -> None:
    gate = asyncio.Event()

    async def gated() -> None:
        await gate.wait()

    served = await serve(Job(id="gated", func=gated, every=Duration(milliseconds=200), max_instances=1))
    window = await open_page(served.url, "/runs")
    page = window.page
    await expect(page.locator("td .badge", has_text="Missed").first).to_be_visible()
    gate.set()
    missed = await first_of(window, "status=missed")
    await window.follow(f"/runs/{missed}")

    await page.locator(".node").get_by_role("link", name="view run").click()

    await expect(page.locator(".head .badge")).to_have_text("Succeeded")


async def test_events_that_failed_to_load_can_be_requested_again(open_page: Any, day: str) -> None:
    window = await open_page(day, "/", allowed=("503",))
    page, failed = window.page, await first_of(window, "status=failed&q=timed")
    problem = '{"title":"Service Unavailable","status":503,"detail":"the log is away"}'
    await page.route(
        "**/events", lambda route: route.fulfill(status=503, content_type="application/problem+json", body=problem)
    )
    await window.follow(f"/runs/{failed}")
    await expect(page.locator(".head .badge")).to_have_text("Failed")
    await expect(page.get_by_role("alert")).to_contain_text("the log is away")
    await expect(page.locator(".node")).to_have_count(0)

    await page.unroute("**/events")
    await page.get_by_role("button", name="Try again").click()

    await expect(page.locator(".node strong").last).to_have_text("Failed")
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_progress_is_shown_grouped_or_event_by_event(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    run = await first_of(window, "status=success&job_id=financials")
    await window.follow(f"/runs/{run}")
    page = window.page
    await expect(page.locator(".node .times").first).to_contain_text("×")
    await expect(page.locator(".node strong").last).to_have_text("Succeeded")
    grouped = await page.locator(".node").count()
    assert grouped < 40
    await expect(page.locator(".waterfall .completed")).to_have_count(3)
    await expect(page.locator(".panel", has_text="Result").last).to_contain_text('"rows": 40')

    await page.get_by_role("button", name="All events").click()

    await expect(page.locator(".node").nth(40)).to_be_visible()


async def test_runs_of_a_job_are_navigated_in_order(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    page = window.page
    newest_first = await page.evaluate(
        "fetch('/scheduler/jobs/heartbeat/executions?limit=3').then(r => r.json()).then(p => p.items.map(run => run._id))"
    )
    await window.follow(f"/runs/{newest_first[1]}")
    await expect(page.locator(".head .badge")).to_be_visible()

    await page.keyboard.press("[")
    await page.wait_for_url(f"**/{newest_first[2]}")
    await expect(page.locator(".head .badge")).to_be_visible()
    await page.get_by_role("button", name="Later").click()
    await page.wait_for_url(f"**/{newest_first[1]}")
    await expect(page.locator(".head .badge")).to_be_visible()
    await page.keyboard.press("]")

    await page.wait_for_url(f"**/{newest_first[0]}")


# --- alerts, system, languages ---


async def test_the_system_panel_shows_the_health_of_the_components(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs?panel=system")
    panel = window.page.get_by_role("dialog")
    await expect(panel).to_contain_text("Kernel healthy")
    await expect(panel).to_contain_text("Active runs")
    await expect(panel).to_contain_text("Connected clients")
    await expect(panel).to_contain_text("local (admin)")
    components = [
        {"name": "store", "state": "degraded", "problem": "MongoDB is away", "lag": 1200},
        {"name": "plugin:stats", "state": "failed"},
    ]
    await window.page.route(
        "**/scheduler/health", lambda route: route.fulfill(json={"status": "degraded", "components": components})
    )
    await expect(panel).to_contain_text("MongoDB is away")  # requested every five seconds
    await expect(panel).to_contain_text("1,200 behind")
    await expect(panel).to_contain_text("stats unhealthy")
    await panel.get_by_role("button", name="Close").click()
    await window.page.wait_for_url(f"{day}/jobs")


async def test_the_system_panel_shows_how_much_of_each_group_is_taken(open_page: Any, serve: Any) -> None:
    may_end = asyncio.Event()

    async def body() -> None:
        await may_end.wait()

    groups = {"warehouse": 1, "mail": {"rate": "100/m"}}
    jobs = [Job(id=f"load-{n}", func=body, group="warehouse") for n in range(2)]
    served = await serve(*jobs, kernel={"groups": groups})
    for job in jobs:
        await served.kernel.trigger(job.id)
    window = await open_page(served.url, "/jobs?panel=system")
    panel = window.page.get_by_role("dialog")

    await expect(panel).to_contain_text("1 of 1 taken, 1 waiting")
    await expect(panel).to_contain_text("0 of ∞ taken, 0 waiting · 100/m")
    may_end.set()


class MailPlugin:
    """A plugin that reports a problem of its server."""

    problem: str | None = "the mail server is down"

    @hookimpl
    def on_failed(self) -> None: ...


@pytest.mark.parametrize(("locale", "degraded", "live"), [("en-US", "Degraded", "Live"), ("zh-CN", "降级", "实时")])
async def test_the_header_and_the_alerts_show_that_a_component_is_degraded(
    open_page: Any, serve: Any, locale: str, degraded: str, live: str
) -> None:
    plugin = MailPlugin()
    served = await serve(plugins=[plugin])
    window = await open_page(served.url, "/alerts", locale=locale)
    page, header = window.page, window.page.locator(".top .link")

    await expect(header).to_have_text(degraded)
    await expect(header).to_have_attribute("title", "MailPlugin: the mail server is down")
    await expect(page.locator(".alert.warn")).to_contain_text("MailPlugin")
    await expect(page.locator(".alert .detail")).to_have_text("the mail server is down")

    plugin.problem = None
    await page.keyboard.press("g")
    await page.keyboard.press("s")  # the system panel requests the health at once
    await expect(header).to_have_text(live)
    await expect(page.locator(".alert")).to_have_count(0)


async def test_a_run_that_blocks_the_event_loop_is_named_in_the_alerts_and_on_its_page(
    open_page: Any, serve: Any
) -> None:
    async def blocks() -> None:
        time.sleep(1.5)

    served = await serve(Job(id="blocks", func=blocks), kernel={"blocked_loop_after": timedelta(milliseconds=200)})
    window = await open_page(served.url, "/alerts")
    page = window.page

    run = (await served.kernel.trigger("blocks", actor="test")).execution.id
    await served.kernel.wait(run)

    await expect(page.locator(".top .link")).to_have_text("Degraded")
    alert = page.locator(".alert.warn", has_text="Event loop")
    await expect(alert).to_contain_text("blocks")
    await alert.locator("a").click()
    await page.wait_for_url(f"**/runs/{run}*")
    await expect(page.locator(".facts", has_text="Warning")).to_contain_text("blocked")
    await expect(page.locator(".node strong", has_text="Warning")).to_have_count(1)


async def test_a_run_whose_code_outlives_it_is_shown_until_the_code_has_ended(open_page: Any, serve: Any) -> None:
    gate = threading.Event()

    def lingers() -> None:
        gate.wait(60)

    served = await serve(Job(id="lingers", func=lingers))
    run = (await served.kernel.trigger("lingers", actor="test")).execution.id
    window = await open_page(served.url, f"/runs/{run}")
    page = window.page
    await expect(page.locator(".head .badge")).to_have_text("Running")

    await served.kernel.fail(run, "its machine burned down", actor="test")

    await expect(page.locator(".head .badge.warn")).to_have_text("Code still running")
    gate.set()
    await expect(page.locator(".head .badge.warn")).to_have_count(0)


async def test_a_component_links_to_the_run_that_causes_its_problem(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs")
    page, run = window.page, await first_of(window, "status=running")
    loop = {"name": "loop", "state": "degraded", "problem": "held by a run", "execution_id": run}
    health = {"status": "degraded", "components": [loop]}
    await page.route("**/scheduler/health", lambda route: route.fulfill(json=health))

    await window.follow("/jobs", "panel=system")
    await expect(page.get_by_role("dialog")).to_contain_text("Event loop degraded")
    await page.get_by_role("dialog").get_by_role("link", name="View run").click()

    await page.wait_for_url(f"**/runs/{run}*")


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/daily_bars", "/runs", "/alerts"])
async def test_every_view_is_translated_to_chinese(open_page: Any, day: str, path: str) -> None:
    window = await open_page(day, path, locale="zh-CN")
    page = window.page
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    await window.loaded()
    english = await page.evaluate("""[...document.querySelectorAll('h1, h2, h3, th[scope=col], button, dt, .badge')]
        .map((e) => e.textContent.trim()).filter((text) => /[a-z]{3}/i.test(text) && !/[\u4e00-\u9fff]/.test(text))""")
    names = {
        "Realtime quotes",
        "Daily bars",
        "Financial statements",
        "News",
        "Evening report",
        "Data source check",
        "Old files",
    }
    assert set(english) <= names | {"English", "local"}  # the actor without a login


async def test_the_chosen_language_is_remembered(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs/heartbeat")
    page = window.page
    await page.get_by_label("Language").select_option("zh-CN")
    await expect(page.locator(".crumbs")).to_contain_text("任务")
    await expect(page.locator(".schedule-words")).to_have_text("每 20分钟")
    await expect(page).to_have_title("Data source check · 任务 · Gnomon")
    await window.reload()
    await expect(page.locator(".crumbs")).to_contain_text("任务")


# --- the screenshots of the documentation ---


async def test_the_screenshots_of_the_documentation_can_be_taken_and_stay_small(browsers: Any, day: str) -> None:
    pictures = importlib.import_module("pictures")
    images = Path(__file__).parents[3] / "docs" / "images"

    taken = await pictures.take(await browsers.alive(), day, ["-light", "-phone"])

    expected = {f"{view}{suffix}.png" for suffix, (_, _, views) in pictures.SETS.items() for view in views}
    assert {path.name for path in images.glob("*.png")} == expected >= set(taken)
    assert len(pictures.small(max(taken.values(), key=len))) <= pictures.MAX_BYTES
    assert max(path.stat().st_size for path in images.glob("*.png")) <= pictures.MAX_BYTES
