"""Actions in the page, on real jobs of a real kernel."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import expect

from gnomon import Context, Job, SecretReference
from gnomon.domain.events import CancelRequested, Scheduled
from gnomon.durations import Duration


def prices(market: str = "cn") -> int:
    raise ValueError(f"no such table: prices_{market}")


async def waits(ctx: Context) -> None:
    while True:
        ctx.progress(message="waiting")
        await asyncio.sleep(0.05)


async def quick(force: bool = False, **kwargs: Any) -> dict[str, Any]:
    return {"force": force, **kwargs}


async def dialog_button(page: Any, name: str) -> None:
    await page.locator("dialog[open]").get_by_role("button", name=name, exact=True).click()


def installed(folder: Path, many: int) -> Path:
    """Create a folder of distributions that takes minutes to audit: each contains the same large file."""
    large = bytes(128 * 1024 * 1024)
    (folder / "large.bin").write_bytes(large)
    digest = base64.urlsafe_b64encode(hashlib.sha256(large).digest()).rstrip(b"=").decode()
    for number in range(many):
        info = folder / f"part{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: part{number}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"large.bin,sha256={digest},{len(large)}\n")
    return folder


async def test_an_audit_is_started_watched_and_cancelled_in_the_page(
    open_page: Any, serve: Any, tmp_path: Path
) -> None:
    served = await serve(
        Job(
            id="integrity_audit",
            name="Integrity of installed packages",
            func="gnomon_chores:integrity_audit",
            kwargs={"paths": [str(installed(tmp_path, 1500))]},
        )
    )
    window = await open_page(served.url, "/jobs/integrity_audit")
    page = window.page

    await page.get_by_role("button", name="Run now: Integrity").click()
    await dialog_button(page, "Run now")
    await page.get_by_role("link", name="View run").click()
    await page.wait_for_url("**/runs/*")
    bar = page.get_by_role("progressbar")
    await expect(bar).to_have_attribute("aria-valuenow", re.compile("^[1-9]"))
    done = await bar.get_attribute("aria-valuenow")
    await expect(bar).not_to_have_attribute("aria-valuenow", str(done))
    await page.get_by_role("button", name="Cancel: Integrity").click()
    await expect(page.locator("dialog[open] h2")).to_contain_text("Cancel this run of Integrity of installed packages?")
    await dialog_button(page, "Cancel run")

    await expect(page.locator(".head .badge")).to_have_text("Cancelled")
    nodes = page.locator(".node .what")
    await expect(nodes.last).to_contain_text(re.compile("^Cancelled"))
    await expect(nodes.first).to_contain_text(re.compile("^Scheduled by hand"))
    await expect(nodes.filter(has_text=re.compile("^Cancellation requested.*local"))).to_have_count(1)
    await expect(page.get_by_role("button", name="Run now: Integrity")).to_be_visible()


async def test_a_failed_run_shows_its_error_first_and_the_frames_of_its_own_code(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="prices", func=prices, kwargs={"market": "hk"}))
    run = (await served.kernel.trigger("prices", actor="test")).execution.id
    await served.kernel.wait(run)

    window = await open_page(served.url, f"/runs/{run}", permissions=["clipboard-read", "clipboard-write"])

    page = window.page
    await expect(page.locator(".error h2")).to_have_text("ValueError: no such table: prices_hk")
    await expect(page.locator(".traceback")).to_contain_text('raise ValueError(f"no such table')
    await page.locator(".fold").first.click()
    await expect(page.locator(".traceback .library").first).to_be_visible()
    await page.get_by_role("button", name="Copy: Error").click()
    await expect(page.get_by_role("button", name="Copy: Error")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Traceback (most recent call last):")
    assert copied.rstrip().endswith("ValueError: no such table: prices_hk")
    await expect(page.locator(".facts", has_text="market")).to_contain_text('"hk"')


async def test_the_dashboard_reads_the_clean_api_of_a_server_with_a_dialect(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="waits", func=waits), base_path="/api", dialect="tradingagents")
    window = await open_page(served.url, "/jobs/waits")
    page = window.page

    await page.keyboard.press("t")
    await dialog_button(page, "Run now")
    await page.get_by_role("link", name="View run").click()
    await page.get_by_role("button", name="Cancel: waits").click()
    await dialog_button(page, "Cancel run")
    await expect(page.locator(".head .badge")).to_have_text("Cancelled")
    await window.reload()
    await expect(page.locator(".head .badge")).to_have_text("Cancelled")  # the dialect would call it failed

    await window.follow("/runs", "?status=cancelled")
    await expect(page.locator("tr[data-row]")).to_have_count(1)


async def test_a_run_takes_its_own_arguments_and_reports_invalid_ones(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="quick", func=quick, kwargs={"rows": 1}, paused=True))
    window = await open_page(served.url, "/jobs/quick")
    page = window.page

    await page.keyboard.press("t")
    field = page.get_by_label("More arguments")
    await expect(field).to_have_value('{\n  "rows": 1\n}')
    await field.fill("{rows: 2}")
    await dialog_button(page, "Run now")
    await expect(page.get_by_role("alert")).to_contain_text("The arguments are not valid JSON")
    await field.fill("[1]")
    await dialog_button(page, "Run now")
    await expect(page.get_by_role("alert")).to_contain_text("must be a JSON object")
    await field.fill('{"rows": 2, "market": "hk"}')
    await page.get_by_label("Skip guards").check()
    await page.get_by_label("Keep paused").check()
    await dialog_button(page, "Run now")
    await page.get_by_role("link", name="View run").click()

    await expect(page.locator(".head .badge")).to_have_text("Succeeded")
    await expect(page.locator(".panel", has_text="Result").last).to_contain_text('"force": true')
    scheduled = [event for event in served.kernel._store.recorded if isinstance(event, Scheduled)]
    assert (scheduled[0].kwargs, scheduled[0].force, scheduled[0].actor) == ({"rows": 2, "market": "hk"}, True, "local")
    assert (await served.kernel.job("quick")).state.paused


async def test_arguments_that_lists_cut_are_whole_where_a_run_is_shown_or_started_again(
    open_page: Any, serve: Any
) -> None:
    note = "n" * 5_000 + " end"
    served = await serve(Job(id="quick", func=quick))
    run = (await served.kernel.trigger("quick", kwargs={"note": note})).execution.id
    await served.kernel.wait(run)
    window = await open_page(served.url, "/runs")
    page = window.page

    await page.locator("tr[data-row] a").first.focus()
    await page.keyboard.press("t")
    await expect(page.get_by_label("More arguments")).to_have_value(re.compile(rf"^.*{note}.*$", re.DOTALL))
    await page.keyboard.press("Escape")
    await window.follow(f"/runs/{run}")
    await expect(page.locator("main")).to_contain_text(note)


async def test_a_run_offers_only_arguments_that_its_job_opens(open_page: Any, serve: Any) -> None:
    some = Job(id="some", func=quick, kwargs={"rows": 1}, overrides=["rows"])
    served = await serve(some, Job(id="closed", func=quick, kwargs={"rows": 1}, overrides="none"))
    window = await open_page(served.url, "/jobs/some", allowed=("403 (Forbidden)",))
    page = window.page

    await page.keyboard.press("t")
    await expect(page.get_by_role("dialog")).to_contain_text("Only these may be set for this run: rows")
    await page.get_by_label("More arguments").fill('{"market": "hk"}')
    await dialog_button(page, "Run now")
    await expect(page.get_by_role("alert")).to_contain_text("does not accept the argument 'market'")
    await page.keyboard.press("Escape")

    await window.follow("/jobs/closed")
    await page.keyboard.press("t")
    await expect(page.get_by_role("dialog")).to_contain_text("runs with its own arguments")
    await expect(page.get_by_label("More arguments")).to_have_count(0)
    await dialog_button(page, "Run now")
    await page.get_by_role("link", name="View run").click()
    await expect(page.locator(".head .badge")).to_have_text("Succeeded")


async def test_a_job_is_paused_and_resumed_and_shows_it_once_the_log_confirms(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="quick", func=quick, every=Duration(hours=1)))
    window = await open_page(served.url, "/jobs")
    page, row = window.page, window.page.locator("tr[data-row=quick]")
    await expect(row.locator("time").first).to_contain_text("in ")

    await row.get_by_role("button", name="Pause: quick").click()
    await page.locator("dialog[open]").get_by_label("Reason").fill("the disk is full")
    await dialog_button(page, "Pause job")
    await expect(row.locator(".badge")).to_have_text("Paused")
    assert (await served.kernel.job("quick")).state.paused_reason == "the disk is full"
    await expect(page.get_by_role("status").last).to_contain_text("quick is paused.")
    await row.get_by_role("button", name="Resume: quick").click()
    await expect(row.locator("time").first).to_contain_text("in ")
    await window.follow("/jobs/quick")

    await expect(page.locator(".audit")).to_contain_text("local resumed the job")
    await expect(page.locator(".audit li", has_text="paused the job")).to_contain_text("the disk is full")
    assert not (await served.kernel.job("quick")).state.paused


async def test_a_command_is_requested_until_the_log_confirms_it(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="quick", func=quick, every=Duration(hours=1), paused=True))
    window = await open_page(served.url, "/jobs")
    gate = asyncio.Event()

    async def hold(route: Any) -> None:
        await gate.wait()
        await route.continue_()

    await window.page.route("**/resume", hold)
    button = window.page.get_by_role("button", name="Resume: quick")
    await button.click()
    await expect(button).to_have_text("Requested…")
    await expect(button).to_be_disabled()
    await expect(window.page.locator("tr[data-row=quick] .badge")).to_have_text("Paused")
    gate.set()

    await expect(window.page.locator("tr[data-row=quick] .badge")).to_have_count(0)


async def test_all_jobs_of_a_filter_are_paused_at_once_after_a_dialog_lists_them(open_page: Any, serve: Any) -> None:
    served = await serve(*(Job(id=f"job{n}", func=quick, tags=["night"] if n < 3 else []) for n in range(5)))
    window = await open_page(served.url, "/jobs?tag=night")
    page = window.page
    many = page.get_by_role("button", name=re.compile(r"^(Pause|Resume|Cancel) \d"))
    await expect(page.locator("tr[data-row]")).to_have_count(3)
    await expect(many).to_have_count(0)  # nothing acts on jobs that nobody selected

    await page.get_by_label("Select all 3").check()
    await page.get_by_role("button", name="Pause 3").click()
    await expect(page.locator("dialog[open] .names li")).to_have_text(["job0", "job1", "job2"])
    await page.locator("dialog[open]").get_by_label("Reason").fill("the database moves")
    await dialog_button(page, "Pause 3 jobs")
    await expect(page.locator("td .badge", has_text="Paused")).to_have_count(3)
    await page.get_by_role("button", name="Resume 3").click()
    await dialog_button(page, "Keep paused")
    paused = {view.job.id: view.state.paused_reason for view in await served.kernel.jobs() if view.state.paused}
    assert paused == dict.fromkeys(["job0", "job1", "job2"], "the database moves")

    await page.locator(".toasts").get_by_role("button", name="Undo").click()
    await expect(page.locator(".toasts")).to_contain_text("Undone.")
    await expect(page.locator("td .badge", has_text="Paused")).to_have_count(0)
    await page.get_by_label("Select all 3").uncheck()
    await expect(many).to_have_count(0)
    assert not [view for view in await served.kernel.jobs() if view.state.paused]


async def test_jobs_are_selected_and_paused_with_the_keyboard_alone(open_page: Any, serve: Any) -> None:
    served = await serve(*(Job(id=f"job{n}", func=quick) for n in range(4)))
    window = await open_page(served.url, "/jobs")
    page = window.page

    for key in "jxjjx":
        await page.keyboard.press(key)
    await expect(page.get_by_label("Select job2")).to_be_checked()
    await page.get_by_role("button", name="Pause 2").click()
    await expect(page.locator("dialog[open] .names li")).to_have_text(["job0", "job2"])
    await dialog_button(page, "Pause 2 jobs")
    await expect(page.get_by_role("button", name="Resume 2")).to_be_visible()
    await page.get_by_label("Select job0").press("x")  # the checkbox itself may have the focus
    await expect(page.get_by_role("button", name="Resume 1")).to_be_visible()
    await page.get_by_role("button", name="1 selected").click()
    await expect(page.get_by_role("button", name="Resume 1")).to_have_count(0)

    assert [view.job.id for view in await served.kernel.jobs() if view.state.paused] == ["job0", "job2"]


async def test_a_key_pauses_and_resumes_the_focused_job_after_confirmation(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="first", func=quick), Job(id="second", func=quick))
    window = await open_page(served.url, "/jobs")
    page = window.page

    await page.keyboard.press("p")
    await expect(page.locator("dialog[open]")).to_have_count(0)  # no row has the focus
    for key in "jjp":
        await page.keyboard.press(key)
    await expect(page.locator("dialog[open] h2")).to_have_text("Pause this job?")
    await expect(page.locator("dialog[open] .names li")).to_have_text(["second"])
    await dialog_button(page, "Pause job")
    await expect(page.locator("tr[data-row=second] td .badge").first).to_have_text("Paused")
    await window.follow("/jobs/second")
    await page.keyboard.press("p")
    await dialog_button(page, "Resume job")
    await expect(page.locator(".toasts")).to_contain_text("second is resumed.")

    assert [view.job.id for view in await served.kernel.jobs() if view.state.paused] == []


ADMINS = ["^Run now", "^Pause", "^Cancel run", "^Edit", "^Mark failed"]


async def test_the_action_menu_offers_exactly_the_actions_of_the_role(
    open_page: Any, serve: Any, secrets: dict[str, str]
) -> None:
    served = await serve(Job(id="waits", func=waits), guarded=True)
    run = (await served.kernel.trigger("waits", actor="test")).execution.id
    offered: dict[str, list[Any]] = {"viewer": [], "admin": [re.compile(name) for name in ADMINS]}
    for role, entries in offered.items():
        window = await open_page(served.url, "/", allowed=("HTTP Authentication failed", "401"))
        page = window.page
        await page.get_by_label("Token").fill(secrets[role])
        await page.get_by_role("button", name="Log in").click()
        await page.wait_for_selector(".run .name")
        await page.keyboard.press("j")
        await page.keyboard.press(".")
        await expect(page.locator(".menu h2")).to_have_text("waits")
        await expect(page.locator(".menu li")).to_have_text(entries)
        if role == "viewer":
            await expect(page.locator(".menu")).to_contain_text("No actions are available.")

    await page.keyboard.press("ArrowDown")
    await expect(page.locator(".menu button:focus")).to_contain_text("Pause")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowUp")
    await expect(page.locator(".menu button:focus")).to_have_text("Close")
    await page.keyboard.press("c")
    await dialog_button(page, "Cancel run")
    assert (await served.kernel.wait(run)).status == "cancelled"
    await window.follow(f"/runs/{run}")
    await expect(page.locator(".head .badge")).to_have_text("Cancelled")
    await page.keyboard.press(".")
    await page.locator(".menu").get_by_role("button", name="Hide").click()
    await dialog_button(page, "Hide")
    await expect(page.locator(".toasts")).to_contain_text("Run hidden.")


async def test_failures_of_a_bulk_action_are_listed_by_job(open_page: Any, serve: Any) -> None:
    served = await serve(*(Job(id=f"job{n}", func=quick) for n in range(3)))
    window = await open_page(served.url, "/jobs", allowed=("Failed to load resource",))
    page = window.page
    await page.route(
        "**/scheduler/jobs/pause",
        lambda route: route.fulfill(
            content_type="application/json",
            body='[{"id":"job0","changed":true,"error":null},{"id":"job1","changed":false,"error":"it is gone"}]',
        ),
    )

    await page.get_by_label("Select all 3").check()
    await page.get_by_role("button", name="Pause 3").click()
    await dialog_button(page, "Pause 3 jobs")

    await expect(page.get_by_role("alert")).to_have_text("job1: it is gone")


async def test_the_name_and_note_of_a_job_are_edited(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="quick", func=quick, name="Quick"))
    window = await open_page(served.url, "/jobs/quick")
    page = window.page

    await page.get_by_role("button", name="Edit: Quick").click()
    await page.get_by_role("textbox", name="Name").fill("行情同步")
    await page.get_by_role("textbox", name="Note").fill("ask Mei before it is moved")
    await dialog_button(page, "Save")

    await expect(page.locator("h1")).to_have_text("行情同步")
    await expect(page.locator(".note")).to_have_text("ask Mei before it is moved")
    state = (await served.kernel.job("quick")).state
    assert (state.display_name, state.note) == ("行情同步", "ask Mei before it is moved")


async def test_a_dead_run_is_marked_as_failed_and_its_record_hidden(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="waits", func=waits))
    run = (await served.kernel.trigger("waits", actor="test")).execution.id
    window = await open_page(served.url, f"/runs/{run}")
    page = window.page

    await page.get_by_role("button", name="Mark failed: waits").click()
    await page.get_by_label("Reason").fill("its machine burned down")
    await dialog_button(page, "Mark failed")
    await expect(page.locator(".error")).to_contain_text("its machine burned down")
    await page.get_by_role("button", name="Hide: waits").click()
    await dialog_button(page, "Hide")
    await expect(page.get_by_role("button", name="Hide: waits")).to_have_count(0)
    await window.follow("/runs")

    await expect(page.locator(".empty")).to_contain_text("No runs match.")


async def test_a_rejected_request_shows_the_message_of_the_server(open_page: Any, serve: Any) -> None:
    async def counts(**numbers: int) -> None: ...

    served = await serve(Job(id="counts", func=counts))
    window = await open_page(served.url, "/jobs/counts", allowed=("Failed to load resource",))
    page = window.page

    await page.get_by_role("button", name="Run now: counts").click()
    await page.get_by_label("More arguments").fill('{"colour": "red"}')
    await dialog_button(page, "Run now")

    await expect(page.get_by_role("alert")).to_contain_text("colour")
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog[open]")).to_have_count(0)


@dataclass
class Window:
    start: date


async def typed(  # noqa: PLR0917 - one of each
    ctx: Context,
    day: date,
    market: Literal["cn", "hk"] = "cn",
    rows: int = 100,
    ratio: float = 0.5,
    full: bool = False,
    limit: int | None = 7,
    until: date | None = None,
    retry: bool | None = None,
    keep: timedelta = timedelta(minutes=5),
    window: Window | None = None,
    note: str = "none",
    long: str = "n" * 80,
    token: str = "",
) -> str:
    """Return one of each.

    Args:
        rows: How many rows at most.
    """
    given = dict(locals())
    return repr({name: value for name, value in given.items() if name not in {"ctx", "token"}})


async def test_a_run_is_started_with_typed_fields_that_send_what_differs(open_page: Any, serve: Any) -> None:
    kwargs = {"rows": 50, "token": SecretReference(env="PATH")}
    served = await serve(Job(id="typed", func=typed, kwargs=kwargs))
    window = await open_page(served.url, "/jobs/typed", allowed=("Failed to load resource",))
    page, form = window.page, window.page.locator("dialog[open]")

    await page.keyboard.press("t")
    await expect(form.get_by_label("Rows")).to_have_value("50")
    await expect(page.get_by_role("dialog")).to_contain_text("How many rows at most.")
    await expect(form.get_by_label("Market")).to_have_value("0")
    await expect(form.get_by_label("Keep", exact=True)).to_have_value("5m")
    await expect(form.get_by_label("Token")).to_have_attribute("placeholder", "from the environment variable PATH")
    await expect(page.get_by_role("button", name="As last time")).to_have_count(0)
    await dialog_button(page, "Run now")  # the day is required: the browser says so, and nothing is sent
    await expect(form.get_by_label("Day", exact=True)).to_be_focused()
    await form.get_by_label("Day", exact=True).fill("2026-12-31")
    await form.get_by_label("Market").select_option("hk")
    await form.get_by_label("Full").check()
    await form.get_by_label("Limit").fill("")
    await form.get_by_label("Ratio").fill("0.25")
    await form.get_by_label("Retry").select_option("false")
    await form.get_by_label("Keep", exact=True).fill("1h 30m")
    await form.get_by_label("Note").fill("")
    await form.get_by_label("Window").fill("{start}")
    await dialog_button(page, "Run now")
    await expect(page.get_by_role("alert")).to_contain_text("Window is not valid JSON")
    await form.get_by_label("Window").fill('{"start": "soon"}')
    await dialog_button(page, "Run now")
    await expect(page.get_by_role("alert")).to_contain_text("kwargs.window")
    await form.get_by_label("Window").fill('{"start": "2026-01-01"}')
    await dialog_button(page, "Run now")
    await page.get_by_role("link", name="View run").click()
    await expect(page.locator(".head .badge")).to_have_text("Succeeded")

    (scheduled,) = [event for event in served.kernel._store.recorded if isinstance(event, Scheduled)]
    sent = {
        "day": "2026-12-31", "market": "hk", "full": True, "limit": None, "ratio": 0.25, "retry": False,
        "keep": "1h 30m", "note": "", "window": {"start": "2026-01-01"},
    }  # fmt: skip
    assert scheduled.kwargs == {"rows": 50, "token": {"$secret": {"env": "PATH"}}, **sent}


async def test_a_run_is_started_with_the_arguments_of_the_last_one(open_page: Any, serve: Any) -> None:
    async def loads(day: date, rows: int = 5, **more: str) -> None: ...

    served = await serve(Job(id="loads", func=loads, kwargs={"day": "2026-01-01"}))
    last = {"day": "2026-12-31", "rows": 9, "note": "again"}
    await served.kernel.wait((await served.kernel.trigger("loads", kwargs=last)).execution.id)
    window = await open_page(served.url, "/jobs/loads")
    page, form = window.page, window.page.locator("dialog[open]")

    await page.keyboard.press("t")
    await expect(form.get_by_label("Day")).to_have_value("2026-01-01")
    await page.get_by_role("button", name="As last time").click()
    await expect(form.get_by_label("Day")).to_have_value("2026-12-31")
    await expect(form.get_by_label("Rows")).to_have_value("9")
    await expect(form.get_by_label("More arguments")).to_have_value('{\n  "note": "again"\n}')
    await form.get_by_label("Rows").fill("10")
    await dialog_button(page, "Run now")
    await page.get_by_role("link", name="View run").click()
    await expect(page.locator(".head .badge")).to_have_text("Succeeded")

    scheduled = [event for event in served.kernel._store.recorded if isinstance(event, Scheduled)]
    assert [event.kwargs for event in scheduled] == [last, {**last, "rows": 10}]


async def test_a_run_is_cancelled_from_the_overview_with_the_keyboard_alone(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="waits", func=waits))
    window = await open_page(served.url, "/")
    page = window.page
    await served.kernel.trigger("waits", actor="test")

    await page.wait_for_selector(".run .name")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/runs/*")
    await page.wait_for_selector(".head .badge")
    await page.keyboard.press("c")
    await page.wait_for_selector("dialog[open]")
    await dialog_button(page, "Cancel run")

    await expect(page.locator(".head .badge")).to_have_text("Cancelled")
    assert any(isinstance(event, CancelRequested) for event in served.kernel._store.recorded)
