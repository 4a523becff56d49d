"""Accessibility: narrow screens, keyboards, reduced motion, colour vision. What axe finds is in test_axe.py."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import math
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from axe import STILL, addresses, violations, visit
from gnomon import Job
from gnomon_alerts import AlertsPlugin
from gnomon_stats import StatsPlugin
from gnomon_web.dashboard.assets import build

VIEWS = [
    "/",
    "/jobs",
    "/jobs/daily_bars",
    "/runs?status=failed,missed",
    "/runs?q=nothing-like-this",
    "RUNNING",
    "FAILED",
    "FAILED?event=AT",
    "FAILED?event=1",
    "/?at=-3h",
    "WHY",
    "/jobs/financials/why",
    "/alerts",
    "/activity",
]
COUNTED = ["/forecast", "/compare"]
"""Views that need the plugin stats, which the server of the day does not have."""
ENDS_FIRST = ("ERR_CONNECTION_REFUSED",)
"""Logged by a page whose server ends before it."""
PANELS = ["/jobs?panel=system", "/jobs?panel=keys"]


@pytest_asyncio.fixture(loop_scope="session")
async def counted() -> AsyncIterator[str]:
    """The URL of a server with the plugin stats, after some hours of the day."""
    async with importlib.import_module("day").served_day(3.0, StatsPlugin()) as (_, url):
        yield url


async def waits() -> None:
    await asyncio.Event().wait()


async def breaks() -> None:
    raise ValueError("no such table: prices")


async def test_the_dialog_of_an_alert_opens_with_the_keyboard_and_gives_the_focus_back(
    open_page: Any, serve: Any
) -> None:
    plugin = AlertsPlugin()
    served = await serve(Job(id="prices", func=breaks), plugins=[plugin])
    await served.kernel.wait((await served.kernel.trigger("prices")).execution.id)
    page = (await open_page(served.url, "/alerts", **STILL)).page
    button = page.get_by_role("button", name=re.compile("^Acknowledge: prices"))
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog[open]")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(button).to_be_focused()


async def test_acts_of_operators_violate_no_rule_and_work_with_the_keyboard(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="tick", func=waits, cron="0 0 1 1 *", timezone="UTC"))
    await served.kernel.trigger("tick")
    await served.kernel.backfill("tick", datetime(2020, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC))
    await served.kernel.skip("tick", reason="stocktaking")
    await served.kernel.hold(reason="moving house")
    window = await open_page(served.url, "/jobs/tick")
    page, form = window.page, window.page.locator("dialog[open]")
    await expect(page.locator(".times .skipped")).to_be_visible()
    await expect(page.locator(".backfill")).to_be_visible()
    await expect(page.locator(".held")).to_be_visible()
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert await violations(window) == [], scheme
    for name in ("Skip", "Backfill", "Stop backfill", "Release fires"):
        await page.get_by_role("button", name=name, exact=True).focus()
        await page.keyboard.press("Enter")
        await expect(form).to_be_visible()
        assert await violations(window) == [], name
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name=name, exact=True)).to_be_focused()
    await window.follow("/runs")
    await page.get_by_role("button", name="Cancel these runs").press("Enter")
    await expect(form).to_be_visible()
    assert await violations(window) == []


async def test_every_view_fits_narrow_screens_and_fingers(open_page: Any, day: str, counted: str) -> None:
    own, other = await open_page(day, "/", width=320), await open_page(counted, "/", width=320, allowed=ENDS_FIRST)
    found = await addresses(own)
    for window, view in [*((other, one) for one in COUNTED), *((own, one) for one in [*VIEWS, *PANELS])]:
        await visit(window, view, found)
        for width in (768, 320):
            await window.page.set_viewport_size({"width": width, "height": 800})
            # Charts are redrawn a moment later.
            await window.becomes(
                "[arg, Math.max(document.documentElement.scrollWidth - innerWidth, 0)]", [view, 0], view
            )
        await window.becomes("""[...document.querySelectorAll('button, select, input, summary')]
            .filter((e) => e.checkVisibility()).map((e) => [e.textContent, e.closest('label') ?? e])
            .map(([text, e]) => [text, e.getBoundingClientRect()]).filter(([, box]) => box.width < 24 || box.height < 24)
            .map(([text, box]) => `${arg}: ${text} ${box.width} x ${box.height}`)""", [], view)  # fmt: skip
        await window.page.keyboard.press("Escape")
    await window.follow("/jobs/daily_bars")
    await window.page.get_by_role("button", name="Run now").click()
    await expect(window.page.locator("dialog[open]")).to_be_visible()
    box = await window.page.locator("dialog[open]").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 320


async def test_the_page_works_with_the_keyboard_alone(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    page = window.page
    press = page.keyboard.press

    await press("Tab")
    await expect(page.locator(":focus")).to_have_text("Skip to content")
    await press("Enter")
    await expect(page.locator("main")).to_be_focused()
    for keys, path in {"gj": "/jobs", "gr": "/runs", "ga": "/alerts", "go": "/"}.items():
        for key in keys:
            await press(key)
        await page.wait_for_url(f"{day}{path}")
        await expect(page.locator("main h1")).to_be_focused()
    await press("g")
    await press("j")
    await expect(page.locator("main h1")).to_have_text("Jobs")
    await expect(page.locator("main h1")).to_be_focused()
    await press("j")
    await press("j")
    await press("k")
    await expect(page.locator("tr[data-row]").first.locator("a")).to_be_focused()
    await press("Enter")
    await page.wait_for_url("**/jobs/cleanup")
    await press("/")
    await page.wait_for_url(f"{day}/runs")
    await expect(page.locator("[data-search]")).to_be_focused()
    await page.keyboard.type("gj?")  # in a field these keys are text
    await expect(page.locator("[data-search]")).to_have_value("gj?")
    await page.locator("main").focus()
    await press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("Keyboard")
    await press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await press("g")
    await press("s")
    await expect(page.get_by_role("dialog")).to_contain_text("Event log")
    await press("Escape")
    await press("d")
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")


async def test_a_panel_that_opens_while_another_one_closes_stays_open(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs?panel=keys")
    panel = window.page.get_by_role("dialog")
    await expect(panel).to_contain_text("Keyboard")

    # The event of the closed dialog comes after the address has changed.
    await window.inside("(document.querySelector('dialog').close(), m.refine({ panel: 'system' }))")

    await expect(panel).to_contain_text("Event log")
    await window.page.keyboard.press("Escape")
    await window.page.wait_for_url(f"{day}/jobs")


async def test_each_chart_is_one_tab_stop_and_arrows_move_between_its_marks(open_page: Any, day: str) -> None:
    window = await open_page(day, "/?window=24h")
    page, press = window.page, window.page.keyboard.press
    for path, chart in (("/", "svg.lanes"), ("/jobs/financials", "svg.durations")):
        await window.follow(path)
        await window.loaded()
        await expect(page.locator(f"{chart} a[tabindex='0']")).to_have_count(1)
        await page.locator(f"{chart} a[tabindex='0']").focus()
        if chart == "svg.lanes":  # from the last lane to the first one, which has several marks
            await page.locator("svg.lanes > g:not(.tick)").first.locator("a").last.focus()
        newest = await page.locator(":focus").get_attribute("href")
        await press("ArrowLeft")
        await expect(page.locator(f"{chart} a:focus")).not_to_have_attribute("href", newest)
        await press("ArrowRight")
        await expect(page.locator(f"{chart} a:focus")).to_have_attribute("href", newest)
        await press("Home")
        first = await page.locator(":focus").get_attribute("href")
        assert first != newest
        if chart == "svg.lanes":
            await press("ArrowDown")
            await expect(page.locator(f"{chart} a:focus")).not_to_have_attribute("href", first)
            await press("ArrowUp")
            await expect(page.locator(f"{chart} a:focus")).to_have_count(1)
            first = await page.locator(":focus").get_attribute("href")
        # The chart is drawn again beneath the focus.
        await page.locator(chart).evaluate("(chart) => (chart.dataset.old = 'yes')")
        await page.set_viewport_size({"width": 1200 if path == "/" else 1260, "height": 860})
        await expect(page.locator(f"{chart}[data-old]")).to_have_count(0)
        await expect(page.locator(f"{chart} a:focus")).to_have_attribute("href", first)
        await press("Tab")
        await expect(page.locator(f"{chart} a:focus")).to_have_count(0)
    await page.locator("svg.durations a[tabindex='0']").focus()
    await page.evaluate("window.isSamePage = true")
    await press("Enter")
    await page.wait_for_url("**/runs/*")
    assert await page.evaluate("window.isSamePage"), "links of drawings are followed within the page"


async def test_shortcuts_can_be_disabled_permanently(open_page: Any, day: str) -> None:
    window = await open_page(day, "/?panel=keys")
    await window.page.get_by_label("Shortcuts enabled").uncheck()
    await window.page.keyboard.press("Escape")
    await window.page.wait_for_url(f"{day}/")

    await window.go("/")
    await window.page.keyboard.press("?")

    await expect(window.page.get_by_role("dialog")).to_have_count(0)


async def test_reduced_motion_disables_animations(open_page: Any, day: str) -> None:
    window = await open_page(day, "/", reduced_motion="reduce")
    await expect(window.page.locator(".bar").first).to_be_visible()
    moving = "[...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).animationName !== 'none').length"
    await window.becomes(f"{moving} === 0")

    await window.page.emulate_media(reduced_motion="no-preference")

    await window.becomes(f"{moving} > 0")


async def test_the_focus_stays_on_its_row_when_rows_are_added_above(open_page: Any, serve: Any) -> None:
    from gnomon import Job

    async def quick() -> None: ...

    served = await serve(Job(id="quick", func=quick, max_instances=9))
    first = (await served.kernel.trigger("quick", actor="test")).execution.id
    await served.kernel.wait(first)
    window = await open_page(served.url, "/runs")
    link = window.page.locator(f"tr[data-row='{first}'] a")
    await link.focus()

    for _ in range(3):
        await served.kernel.wait((await served.kernel.trigger("quick", actor="test")).execution.id)

    await expect(window.page.locator("tr[data-row]")).to_have_count(4)
    await expect(window.page.locator("tr[data-row]").last.locator("a")).to_be_focused()
    await expect(link).to_be_focused()


# --- the colours ---

STATES = ["ok", "bad", "run", "warn", "off"]
# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as seen without one kind of cone.
VISIONS: dict[str, list[list[float]]] = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
MIN_DIFFERENCE = 6.0
"""Minimum OKLab distance x 100 of two states, for any colour vision. About 2 is just noticeable; bars have no text."""


def tokens(theme: int) -> dict[str, str]:
    """Return the colours of a theme: 0 is light, 1 is dark."""
    text = build().files["app.css"].body.decode()
    return {
        name: values.split(",")[theme].strip() for name, values in re.findall(r"--(\w+): light-dark\(([^)]+)\)", text)
    }


def rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def linear(values: list[float]) -> list[float]:
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def contrast(one: list[float], other: list[float]) -> float:
    """Compute the contrast ratio of WCAG 2."""
    bright, dark = sorted(
        (0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (linear(one), linear(other))), reverse=True
    )
    return (bright + 0.05) / (dark + 0.05)


def oklab(values: list[float]) -> tuple[float, float, float]:
    """Convert linear RGB (Ottosson 2020)."""
    r, g, b = values
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.793617785 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.428592205 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.808675766 * short,
    )


def seen(colour: str, vision: str) -> tuple[float, float, float]:
    values = linear(rgb(colour))
    mixed = [sum(share * value for share, value in zip(row, values, strict=True)) for row in VISIONS[vision]]
    return oklab([min(max(value, 0.0), 1.0) for value in mixed])


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISIONS)
def test_states_differ_for_every_colour_vision(theme: int, vision: str) -> None:
    colours = tokens(theme)
    for one, other in itertools.combinations(STATES, 2):
        assert 100 * math.dist(seen(colours[one], vision), seen(colours[other], vision)) > MIN_DIFFERENCE, (
            one,
            other,
        )


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast_on_every_background(theme: int) -> None:
    colours = tokens(theme)
    for ground, text in itertools.product(["canvas", "panel", "well"], ["ink", "muted"]):
        assert contrast(rgb(colours[text]), rgb(colours[ground])) >= 4.5, (text, ground)
    for ground, state in itertools.product(["canvas", "panel"], STATES):
        tinted = [0.1 * a + 0.9 * b for a, b in zip(rgb(colours[state]), rgb(colours[ground]), strict=True)]
        assert contrast(rgb(colours[state]), tinted) >= 4.5, (state, ground)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_field_borders_and_the_focus_ring_have_enough_contrast(theme: int) -> None:
    colours = tokens(theme)
    for ground, line in itertools.product(["canvas", "panel"], ["edge", "accent"]):
        assert contrast(rgb(colours[line]), rgb(colours[ground])) >= 3, (line, ground)
