"""The wall: what it shows, that it stays fresh, and the links with which a screen sees it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from playwright.async_api import expect

from axe import violations
from gnomon import Duration, Job
from gnomon_alerts import AlertsPlugin
from gnomon_stats import StatsPlugin

REFUSED = ("Failed to load resource", "HTTP Authentication failed", "401", "WebSocket")


async def waits() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("no such table: prices")


def jobs() -> list[Job]:
    return [
        Job(id="long", func=waits, name="Long import"),
        Job(id="bad", func=fails, name="Prices"),
        Job(id="soon", func=waits, name="Report", every=Duration(hours=1)),
    ]


async def test_the_wall_shows_what_matters_without_controls_and_as_it_happens(open_page: Any, serve: Any) -> None:
    served = await serve(*jobs(), plugins=[StatsPlugin(), AlertsPlugin()])
    window = await open_page(served.url, "/?wall=1", width=1920, height=1080)
    page, wall = window.page, window.page.locator(".wall")
    await expect(page.locator("nav, button, select")).to_have_count(0)
    await expect(wall.get_by_label("Needs attention")).to_contain_text("All clear.")
    await expect(wall.get_by_label("Coming up")).to_contain_text(re.compile(r"Report\s*in \d+m"))

    await served.kernel.trigger("long")
    await served.kernel.wait((await served.kernel.trigger("bad")).execution.id)
    await served.kernel.hold(reason="moving house")
    await expect(wall.get_by_label("Running now")).to_contain_text("Long import")
    await expect(wall.get_by_label("Needs attention")).to_contain_text("Prices")
    await expect(wall.locator(".counts .failed")).to_contain_text("1")
    await expect(wall.locator(".held").first).to_contain_text("moving house")
    size = await wall.evaluate("(wall) => parseFloat(getComputedStyle(wall).fontSize)")
    assert size >= 1920 / 60
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert await violations(window) == [], scheme

    await window.inside(
        "m.health.value = { ...m.health.value, components: [{ name: 'alerts', state: 'degraded', problem: arg }] }",
        "channel ops does not accept notifications: " + "no answer; it is tried again; " * 60 + "x" * 500,
    )
    await expect(wall.locator(".held.bad")).to_contain_text("channel ops")
    for width in (390, 768, 1920):
        await page.set_viewport_size({"width": width, "height": 1080})
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0, width
    assert await wall.locator(".held.bad").evaluate("(held) => held.offsetHeight") < size * 4
    await expect(wall.locator(".counts")).to_contain_text("Today")

    await window.count()  # it loads itself again when the server has another version
    async with page.expect_navigation():
        await window.inside("void setTimeout(() => (m.serverVersion.value = '99.0'))")
    await expect(wall.get_by_label("Running now")).to_contain_text("Long import")
    await window.inside("m.link.value = 'lost'")
    await expect(wall.locator(".clock")).to_contain_text("Disconnected: as of")


async def test_an_operator_makes_a_link_with_which_a_screen_sees_the_wall_until_it_is_revoked(
    open_page: Any, serve: Any, secrets: dict[str, str]
) -> None:
    served = await serve(*jobs(), guarded=True, plugins=[StatsPlugin()])
    window = await open_page(served.url, "/", allowed=REFUSED)
    page, form = window.page, window.page.locator("dialog[open]")
    await page.get_by_label("Token").fill(secrets["operator"])
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("button", name="Account: operator").click()
    await page.get_by_role("button", name="Link for a wall").click()
    await form.get_by_label("Name of the wall").fill("hall")
    await form.get_by_role("button", name="Make link").click()
    made = page.get_by_role("textbox", name="Link for a wall")
    await expect(made).to_have_value(re.compile("#k=gnomon-session"))
    link = await made.input_value()
    await page.keyboard.press("Escape")

    screen = await open_page(served.url, link.removeprefix(served.url), allowed=REFUSED)
    await expect(screen.page.locator(".wall")).to_contain_text("Running now")
    assert "#" not in screen.page.url
    await served.kernel.trigger("long")
    await expect(screen.page.get_by_label("Running now")).to_contain_text("Long import")

    await page.get_by_role("button", name="Account: operator").click()
    await page.get_by_role("button", name="Link for a wall").click()
    await expect(form.locator(".wall-links")).to_contain_text("wall hall")
    await form.get_by_role("button", name="Revoke: wall hall").click()
    await expect(form.locator(".wall-links")).to_have_count(0)
    await expect(screen.page.locator("h1")).to_have_text("Log in")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Account: operator").click()
    await page.get_by_role("button", name="Wall view").click()
    await page.wait_for_url("**/?wall=1")
    await expect(page.locator(".wall")).to_be_visible()
