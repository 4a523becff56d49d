"""axe in the pages of the dashboard, and the addresses of the day that have ids."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.async_playwright import Axe
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import expect

AXE = Axe(f"if (!window.axe) {{ {AXE_SCRIPT} }}")  # half a megabyte, so once per page
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STILL = {"reduced_motion": "reduce"}
"""Without it the buttons fade into the colours of another theme, and axe measures colours in between."""


async def addresses(window: Any) -> dict[str, str]:
    """Return a running run, one that failed with a traceback, a moment between its events, and an alert."""
    has_alerts = await window.inside("m.hasAlerts.value")  # a call that there is not would be an error of the page
    found: dict[str, str] = await window.page.evaluate(
        """async (hasAlerts) => {
        const read = (path) => fetch(`/scheduler/${path}`).then((answer) => answer.json());
        const newest = (query) => read(`logs?limit=1&${query}`).then((page) => page.items[0]._id);
        const running = await newest('status=running&job_id=daily_bars');
        const failed = await newest('status=failed&q=timed');
        const events = await read(`executions/${failed}/events`);
        const alerts = hasAlerts ? await read('alerts?limit=1') : null;
        const [AT, ALERT] = [String(events[1].position), alerts?.alerts[0].id ?? ''];
        return { RUNNING: `/runs/${running}`, FAILED: `/runs/${failed}`, WHY: `/runs/${failed}/why`, AT, ALERT };
    }""",
        has_alerts,
    )
    return found


async def visit(window: Any, view: str, found: dict[str, str]) -> None:
    """Open a view and wait until it has loaded."""
    path, _, query = view.partition("?")
    for name, value in found.items():
        query = query.replace(f"={name}", f"={value}")
    moment = "" if "at=" in query else "&at="  # else the page would stay in the past
    await window.follow(found.get(path, path), query + moment)
    await expect(window.page.locator(".scrubber")).to_have_count(0 if moment else 1)
    await window.loaded()
    await window.page.locator("main details").evaluate_all("all => all.forEach((one) => { one.open = true })")


async def violations(window: Any, rules: Any = RULES) -> list[Any]:
    """Return what axe finds: the rule, the element, and what to do."""
    found = await AXE.run(window.page, options={"runOnly": rules, "resultTypes": ["violations"]})
    return [
        (one["id"], node["target"], node["failureSummary"])
        for one in found.response["violations"]
        for node in one["nodes"]
    ]
