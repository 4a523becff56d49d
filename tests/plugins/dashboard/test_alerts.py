"""Alerts in the page: the same counts everywhere, acts on them, and notifications."""

from __future__ import annotations

import asyncio
import json
import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from click.testing import CliRunner
from playwright.async_api import expect

from clicks import COUNT_CLICKS
from gnomon import Job
from gnomon.cli import main
from gnomon.conversion import convert
from gnomon_alerts import AlertsPlugin
from gnomon_alerts.acts import acknowledgement, snooze
from gnomon_alerts.book import Book, shown
from gnomon_alerts.resources import count
from gnomon_alerts.rules import KINDS
from receiver import receiving
from servers import eventually

RECORD_NOTIFICATIONS = """() => {
    const Real = window.Notification;
    window.notified = [];
    window.Notification = class extends Real {
        constructor(title, options) { super(title, options); window.notified.push(this) }
    };
}"""
NOTIFIED = "window.notified.map(({ title, body }) => [title, body])"
ALERT = ".alert:has(.aside)"
"""The row of an alert, not that of a component that a busy machine slows down."""
REFUSED = ("HTTP Authentication failed", "401")


def work(fails: bool = True) -> None:
    if fails:
        raise ValueError("no such table: prices")


def jobs(*names: str) -> list[Job]:
    return [Job(id=name, func=work) for name in names]


async def run(kernel: Any, *job_ids: str, **kwargs: Any) -> dict[str, str]:
    """Run jobs, and return the ids of the runs."""
    started = {job_id: (await kernel.trigger(job_id, kwargs=kwargs)).execution.id for job_id in job_ids}
    for one in started.values():
        await kernel.wait(one)
    return started


async def fail(served: Any, plugin: AlertsPlugin, *job_ids: str) -> str:
    """Run jobs that fail, and wait for their alerts."""
    runs = await run(served.kernel, *job_ids)
    await eventually(lambda: {one.job_id for one in plugin.alerts() if one.state == "firing"} >= set(job_ids))
    return runs[job_ids[-1]]


async def icon(page: Any) -> str:
    found: str = await page.locator("link[rel=icon]").get_attribute("href")
    return found


async def test_an_alert_is_acknowledged_from_the_overview_in_two_clicks(open_page: Any, serve: Any) -> None:
    plugin = AlertsPlugin()
    served = await serve(*jobs("prices", "rates"), plugins=[plugin])
    window = await open_page(served.url, "/")
    page, panel, toasts = (
        window.page,
        window.page.get_by_role("region", name="Needs attention"),
        window.page.locator(".toasts"),
    )
    await expect(panel).to_contain_text("All clear.")
    plain = await icon(page)
    await page.evaluate(COUNT_CLICKS)

    failed = await fail(served, plugin, "prices")
    await expect(panel.locator(ALERT)).to_contain_text("failed: ValueError: no such table: prices")
    await expect(page).to_have_title("(1) Overview · Gnomon")
    assert ">1<" in await page.evaluate("decodeURIComponent(document.querySelector('link[rel=icon]').href)")
    await expect(panel.get_by_role("link", name="prices")).to_have_attribute("href", re.compile(f"/runs/{failed}$"))

    await panel.get_by_role("button", name="Acknowledge: prices, Failed").click()
    await page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()

    await expect(panel).to_contain_text("All clear.")
    assert await page.evaluate("window.clicks") == 2
    await expect(panel).to_contain_text("1 acknowledged or snoozed")
    await expect(page).to_have_title("Overview · Gnomon")
    await expect(page.locator("nav .bubble")).to_have_count(0)
    assert await icon(page) == plain
    (alert,) = plugin.alerts()
    assert (alert.state, alert.acknowledgement and alert.acknowledgement.by) == ("acknowledged", "local")

    await toasts.get_by_role("button", name="Undo").click()
    await expect(toasts).to_contain_text("Undone.")
    await expect(page.locator("nav .bubble")).to_have_text(re.compile("^1"))

    # What happens while the connection is lost is there afterwards.
    await window.inside("(m.connection().disconnect(), m.link.value = 'lost')")
    await fail(served, plugin, "rates")
    await window.inside("m.connection().retry()")
    await expect(page).to_have_title("(2) Overview · Gnomon")
    await run(served.kernel, "prices", fails=False)
    await expect(page).to_have_title("(1) Overview · Gnomon")


async def test_all_counts_agree_with_a_recomputation_from_a_random_log(open_page: Any, serve: Any) -> None:
    chance, plugin, names = random.Random(18), AlertsPlugin(), [f"job{n}" for n in range(9)]
    served = await serve(*jobs(*names, "new0", "new1", "new2"), plugins=[plugin])
    kernel = served.kernel
    window = await open_page(served.url, "/")
    page = window.page
    failing: dict[str, str | None] = {}
    """The first run of each job that has failed since its last success."""

    async def act() -> None:
        for _ in range(12):
            alerts = [one for one in plugin.alerts() if one.state != "resolved"]
            chosen = chance.sample(alerts, min(len(alerts), 1))
            now = kernel.clock.now()
            how: dict[str, Any] = {"until": now + timedelta(hours=1), "actor": "mei", "reason": None, "now": now}
            match chance.randrange(4):
                case 1:
                    await plugin.act(
                        kernel, acknowledgement(until_next=False, undo=chance.random() < 0.2, **how), chosen
                    )
                case 2:
                    await plugin.act(kernel, snooze(length=None, undo=chance.random() < 0.3, **how), chosen)
                case _:
                    fails = chance.random() < 0.7
                    for name, started in (await run(kernel, *chance.sample(names, 3), fails=fails)).items():
                        failing.pop(name, None) if not fails else failing.setdefault(name, started)

    def is_settled() -> bool:
        return {one.job_id: one.first_execution for one in plugin.alerts() if one.state != "resolved"} == failing

    for turn in range(3):
        await act()
        failing.update(await run(kernel, f"new{turn}"))
        await eventually(is_settled)
        book = Book()
        for event in await kernel.events(limit=10_000):
            book.apply(event)
        expected = count([shown(alert, kernel.clock.now()) for alert in book.alerts.values()])
        firing, open_ones = expected.firing, expected.firing + expected.acknowledged + expected.snoozed
        async with aiohttp.ClientSession() as client, client.get(f"{served.url}/scheduler/alerts") as answer:
            rest = await answer.json()
        cli = await asyncio.to_thread(
            CliRunner().invoke, main, ["alerts", "--json", "--url", served.url], env={"GNOMON_URL": None}
        )
        assert rest["counts"] | {"total": rest["total"]} == json.loads(cli.stdout)["counts"] | {"total": open_ones}
        assert (rest["counts"]["firing"], rest["counts"]["acknowledged"], rest["counts"]["snoozed"]) == (
            firing, expected.acknowledged, expected.snoozed,
        )  # fmt: skip
        await window.follow("/")
        panel = page.get_by_role("region", name="Needs attention")
        await expect(page).to_have_title(f"({firing}) Overview · Gnomon")
        await expect(page.locator("nav .bubble")).to_have_text(re.compile(rf"^{firing}\b|^{firing}alerts"))
        await expect(panel.locator(".bubble")).to_have_text(re.compile(rf"^{firing}\D"))
        await expect(panel.locator(ALERT)).to_have_count(min(firing, 4))
        await window.follow("/alerts", "state=firing")
        await expect(page.locator(".head .count")).to_have_text(f"{firing} alert{'s' if firing != 1 else ''}")
        await expect(page.locator(ALERT)).to_have_count(firing)
        for state, number in (
            ("Firing", firing),
            ("Acknowledged", expected.acknowledged),
            ("Snoozed", expected.snoozed),
        ):
            await expect(page.get_by_role("button", name=re.compile(f"^{state} {number}$"))).to_be_visible()
        await expect(page.get_by_role("button", name=f"Open {open_ones}", exact=True)).to_be_visible()


async def test_alerts_are_filtered_and_all_that_match_are_acted_on(open_page: Any, serve: Any) -> None:
    plugin, names = AlertsPlugin(), [f"load{n:02}" for n in range(52)]
    served = await serve(*jobs(*names, "report"), plugins=[plugin])
    await fail(served, plugin, *names)
    await fail(served, plugin, "report")
    window = await open_page(served.url, "/alerts")
    page, rows, dialog, counted = (
        window.page,
        window.page.locator(ALERT),
        window.page.get_by_role("dialog"),
        window.page.locator(".head .count"),
    )
    await expect(counted).to_have_text("50 of 53 alerts")
    await page.get_by_role("button", name="Show more").click()
    await expect(counted).to_have_text("53 alerts")

    kinds = await page.get_by_label("All kinds").locator("option").evaluate_all("(all) => all.map((one) => one.value)")
    assert kinds == ["", *KINDS]
    await page.get_by_label("Job id").fill("report")
    await page.get_by_label("Job id").press("Enter")
    await expect(rows).to_have_count(1)
    await page.get_by_label("All kinds").select_option("missed")
    await page.wait_for_url("**/alerts?job_id=report&kind=missed")
    await expect(page.locator(".empty")).to_contain_text("No alert matches.")
    await page.get_by_label("All kinds").select_option("failed")
    await expect(rows).to_have_count(1)
    await page.get_by_label("Job id").fill("")
    await page.get_by_label("Job id").press("Enter")

    # An act on all that match, also on those that are not listed.
    await page.get_by_role("button", name="Firing 53").click()
    await page.get_by_role("button", name="Acknowledge all 53").click()
    await expect(dialog.locator(".names li")).to_have_count(53)
    await dialog.get_by_label("Until").select_option("it happens again")
    await dialog.get_by_role("button", name="Acknowledge").click()
    await expect(page.locator(".toasts")).to_contain_text("53 alerts acknowledged.")
    await expect(page.locator(".empty")).to_contain_text("No alert matches.")
    await page.get_by_role("link", name="Clear filters").click()
    await expect(rows.first.locator(".care")).to_contain_text("until it happens again")
    load = rows.filter(has_text="load07")
    await load.get_by_role("button", name="Unacknowledge").click()
    await load.get_by_role("button", name="Snooze").click()
    await dialog.get_by_label("Until").select_option("for 4 hours")
    await run(served.kernel, "load07", fails=False)
    await expect(load).to_have_count(0)
    await dialog.get_by_role("button", name="Snooze").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("no open alert")


async def test_an_act_on_one_alert_is_shown_on_all_its_pages(open_page: Any, serve: Any) -> None:
    plugin = AlertsPlugin()
    served = await serve(*jobs("report"), plugins=[plugin])
    failed = await fail(served, plugin, "report")
    window = await open_page(served.url, "/alerts")
    page, rows, dialog = window.page, window.page.locator(ALERT), window.page.get_by_role("dialog")

    await expect(rows.get_by_role("link", name="Why?")).to_have_attribute("href", f"/runs/{failed}/why")
    await rows.get_by_role("link", name="Job").click()
    job = page.get_by_role("region", name="Alerts")
    await expect(job.locator(ALERT)).to_contain_text("no such table")
    await window.follow(f"/runs/{failed}")
    await job.get_by_role("button", name="Snooze: report, Failed").click()
    await dialog.get_by_label("Until").select_option("a time")
    await dialog.get_by_label("Time", exact=True).fill(
        (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    )
    await dialog.get_by_label("Note").fill("the table comes tomorrow")
    await dialog.get_by_role("button", name="Snooze").click()
    await expect(job.locator(".care")).to_contain_text("snoozed by local")
    await expect(job.locator(".care")).to_contain_text("the table comes tomorrow")
    await job.get_by_role("link", name="History").click()
    history = page.get_by_role("region", name="Alert", exact=True)
    await expect(history.locator(".changes strong")).to_have_text(["Opened", "Snoozed"])
    await history.get_by_role("button", name="End snooze: report, Failed").click()
    await expect(history.locator(".changes strong").last).to_have_text("Snooze withdrawn")
    await history.get_by_role("button", name="Resolve: report, Failed").click()
    await dialog.get_by_role("button", name="Resolve").click()
    await expect(history.locator(".care")).to_contain_text("resolved: by hand (local)")
    await history.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Resolved", exact=True).click()
    await expect(rows).to_have_count(1)

    # The same page as of the moment at which the alert was opened.
    (alert,) = plugin.alerts()
    await window.follow("/alerts", f"alert={alert.id}&at={alert.opened_at:%Y-%m-%dT%H:%M:%S.%fZ}")
    await expect(page).to_have_title("(1) Alerts · Gnomon")
    await expect(history.locator(".changes strong")).to_have_text(["Opened"])
    await expect(page.locator(".alert.firing button")).to_have_count(0)


async def test_a_new_alert_reaches_a_webhook_the_page_and_the_desktop(open_page: Any, serve: Any) -> None:
    async with receiving() as receiver:
        channel = {"name": "ops", "webhook": f"{receiver.url}/ops", "group_wait": 0, "interval": 0, "group_by": "alert"}
        plugin = AlertsPlugin(convert({"channels": [channel]}, AlertsPlugin.Config, "plugins.alerts"))
        names = ["prices", "rates", *(f"many{n}" for n in range(6))]
        served = await serve(*jobs("early", *names), plugins=[plugin])
        await fail(served, plugin, "early")
        window = await open_page(served.url, "/alerts", permissions=["notifications"])
        page, switch = window.page, window.page.get_by_role("button", name="Browser notifications")
        await page.evaluate(RECORD_NOTIFICATIONS)
        await expect(switch).to_have_attribute("aria-pressed", "false")
        await switch.click()
        await expect(switch).to_have_attribute("aria-pressed", "true")

        await fail(served, plugin, "prices")
        await receiver.until(lambda: len(receiver.to("/ops")) == 2)
        (sent,) = receiver.to("/ops")[1]["alerts"]
        await window.becomes(NOTIFIED, [["prices: Failed", "failed: ValueError: no such table: prices"]])
        await expect(page.locator(f"{ALERT} [data-open]")).to_have_text(["prices", "early"])
        history = page.locator(ALERT).first.get_by_role("link", name="History")
        await expect(history).to_have_attribute("href", f"/alerts?alert={sent['id']}")

        await window.follow("/jobs")
        await page.evaluate("window.notified[0].onclick()")
        await page.wait_for_url(f"**/alerts?alert={sent['id']}")
        await expect(page.get_by_role("region", name="Alert", exact=True)).to_contain_text("no such table")

        # It is remembered; more of the same, and what is older than the page, is not new.
        await window.reload()
        await page.evaluate(RECORD_NOTIFICATIONS)
        await run(served.kernel, "prices", "early")
        await fail(served, plugin, "rates")
        await window.becomes(NOTIFIED, [["rates: Failed", "failed: ValueError: no such table: prices"]])
        await window.inside("(m.connection().disconnect(), m.link.value = 'lost')")
        await fail(served, plugin, *names[2:])
        await window.inside("m.connection().retry()")
        await window.becomes("window.notified[1]?.title", "6 new alerts")

        await switch.click()
        await expect(switch).to_have_attribute("aria-pressed", "false")
        await page.context.clear_permissions()
        await switch.click()
        await expect(page.locator(".toasts")).to_contain_text("does not allow notifications")


async def test_viewers_only_look_and_without_the_plugin_the_page_says_so(
    open_page: Any, serve: Any, secrets: dict[str, str]
) -> None:
    plugin = AlertsPlugin()
    served = await serve(*jobs("prices"), plugins=[plugin], guarded=True)
    await fail(served, plugin, "prices")
    window = await open_page(served.url, "/alerts", allowed=REFUSED)
    page = window.page
    await page.get_by_label("Token").fill(secrets["viewer"])
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator(ALERT)).to_contain_text("prices")
    await expect(page.locator(".alert button, .filters .buttons")).to_have_count(0)
    await page.route(
        "**/scheduler/alerts?*", lambda route: route.fulfill(status=503, json={"title": "Away", "status": 503})
    )
    window.errors.clear()
    await window.inside("m.readAlertsAgain()")
    await expect(page.get_by_role("alert")).to_contain_text("Away")
    await expect(page.locator(ALERT)).to_contain_text("prices")  # what was known stays
    window.errors.clear()
    await page.unroute("**/scheduler/alerts?*")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("alert")).to_have_count(0)

    other = await open_page((await serve(*jobs("prices"))).url, "/", locale="zh-CN")
    await other.page.get_by_role("link", name="如何启用").click()
    await expect(other.page.locator("main pre")).to_have_text("[plugins.alerts]")
    await expect(other.page.locator("main")).to_contain_text("docs/how-to/alerts.md")
    await expect(other.page).to_have_title("告警 · Gnomon")
