"""axe finds nothing on any page, in both languages and themes, on a phone, a tablet and a desktop.

By default every page is checked in two surroundings that have nothing in common, and all of them occur. With
GNOMON_TEST_PAGES=all every page is checked in all of them: `tox -e pages`.
"""

from __future__ import annotations

import importlib
import itertools
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from axe import STILL, addresses, violations, visit
from gnomon import Job
from gnomon_alerts import AlertsPlugin
from gnomon_stats import StatsPlugin
from servers import eventually

LANGUAGES = ("en-US", "zh-CN")
THEMES = ("light", "dark")
WIDTHS = (390, 768, 1440)
EVERYWHERE = list(itertools.product(LANGUAGES, THEMES, WIDTHS))
IS_WHOLE = os.environ.get("GNOMON_TEST_PAGES") == "all"
PAGES = [
    "/",
    "/jobs",
    "/jobs/daily_bars",
    "/jobs/financials/why",
    "/jobs/financials/why?at=-1h",
    "/runs?status=failed,missed",
    "/runs?q=nothing-like-this",
    "RUNNING",
    "FAILED",
    "FAILED?event=AT",
    "FAILED?event=1",
    "WHY",
    "/forecast",
    "/compare",
    "/activity",
    "/alerts?state=all",
    "/alerts?alert=ALERT",
    "/jobs?panel=system",
    "/jobs?panel=keys",
    "/?at=-1h",
    "/jobs/daily_bars?at=-1h",
    "/runs?at=-1h",
    "/?wall=1",
    "/nothing/here",
    "/jobs/nobody",
    f"/runs/{'0' * 24}",
]
DIALOGS = ["job.new", "job.copy", "edit", "trigger", "backfill", "fire.skip", "account", "ack", "."]
"""Keys of the words of buttons that open a dialog or a menu, and the key of the menu of a row."""
OF_LISTS = {"job.new": "/jobs", "ack": "/alerts", "account": "/jobs"}
MISSING = ("404", "ERR_CONNECTION_REFUSED")
"""Logged by pages of what does not exist, and by one whose server ends before it."""


def surroundings(number: int) -> list[tuple[str, str, int]]:
    """Return where the page with this number is checked: in all, or in two that differ in everything."""
    if IS_WHOLE:
        return EVERYWHERE
    turns = (number, number + 1)
    return [(LANGUAGES[n % 2], THEMES[(n + number // 6) % 2], WIDTHS[n % 3]) for n in turns]


def test_the_usual_walk_shows_pages_in_every_language_theme_and_width() -> None:
    found = {one for number in range(len(PAGES)) for one in surroundings(number)}
    assert found == set(EVERYWHERE)
    for one, other in (surroundings(number)[:2] for number in range(len(PAGES))):
        assert IS_WHOLE or all(a != b for a, b in zip(one, other, strict=True))


@pytest_asyncio.fixture(loop_scope="session")
async def busy() -> AsyncIterator[str]:
    """The URL of a server with statistics and alerts, after ten hours of the day."""
    alerts = AlertsPlugin()
    async with importlib.import_module("day").served_day(10.0, StatsPlugin(), alerts) as (_, url):
        await eventually(alerts.alerts)
        yield url


class Places:
    """A page of a server in each language; `at` shows one of them in a theme and a width."""

    def __init__(self, open_page: Any, url: str) -> None:
        self._open_page = open_page
        self._url = url
        self._windows: dict[str, Any] = {}

    async def at(self, language: str, theme: str, width: int) -> Any:
        if language not in self._windows:
            self._windows[language] = await self._open_page(self._url, "/", locale=language, allowed=MISSING, **STILL)
        page = (window := self._windows[language]).page
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size({"width": width, "height": 860})
        return window


async def check(window: Any, *where: Any) -> list[Any]:
    """Return what axe finds, and whether the page is wider than the screen."""
    await window.loaded()
    found = [(*where, *one) for one in await violations(window)]
    too_wide = await window.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return found if too_wide <= 0 else [*found, (*where, "too wide", too_wide)]


@pytest.mark.timeout(3600 if IS_WHOLE else 300)
async def test_axe_finds_nothing_on_any_page(open_page: Any, busy: str) -> None:
    places, found = Places(open_page, busy), []
    for number, page in enumerate(PAGES):
        for where in surroundings(number):
            window = await places.at(*where)
            await visit(window, page, await addresses(window))
            found += await check(window, page, where)
    assert found == []


@pytest.mark.timeout(3600 if IS_WHOLE else 300)
async def test_axe_finds_nothing_in_any_dialog(open_page: Any, busy: str) -> None:
    places, found = Places(open_page, busy), []
    for number, key in enumerate(DIALOGS):
        for where in surroundings(number):
            window = await places.at(*where)
            await visit(window, OF_LISTS.get(key, "/jobs/news"), {})
            await press(window, key)
            found += await check(window, key, where)
            await window.page.keyboard.press("Escape")
            await expect(window.page.locator("dialog[open]")).to_have_count(0)
    assert found == []


async def press(window: Any, key: str) -> None:
    """Press a key, or the first button with a word of the catalogue, and wait for what opens."""
    if key == ".":
        await window.page.keyboard.press(key)
    else:
        name = re.escape(await window.inside("m.t(arg)", key))
        await window.page.get_by_role("button", name=re.compile(f"^{name}(:|$)")).first.click()
    await expect(window.page.locator("dialog[open]")).to_be_visible()


async def quick() -> None: ...


@pytest.mark.timeout(3600 if IS_WHOLE else 300)
async def test_axe_finds_nothing_on_the_first_visit_and_in_the_login(
    open_page: Any, serve: Any, secrets: dict[str, str]
) -> None:
    empty, guarded = await serve(), await serve(Job(id="quick", func=quick), guarded=True)
    first, found = Places(open_page, empty.url), []
    for where in surroundings(0):
        found += await check(await first.at(*where), "first visit", where)
    for language, theme, width in surroundings(1):
        window = await open_page(guarded.url, "/", locale=language, color_scheme=theme, width=width, allowed=("401", "HTTP Authentication failed"), **STILL)  # fmt: skip
        found += await check(window, "login", language, theme, width)
        await window.page.locator("input[name=token]").fill(secrets["operator"])
        await window.page.locator("button[type=submit]").click()
        await expect(window.page.locator("button.account")).to_be_visible()
        await press(window, "account")
        found += await check(window, "account", language, theme, width)
        await window.page.get_by_role("button", name=await window.inside("m.t(arg)", "wall.link")).click()
        await expect(window.page.locator("dialog[open] input[name=days]")).to_be_visible()
        found += await check(window, "wall links", language, theme, width)
    assert found == []
