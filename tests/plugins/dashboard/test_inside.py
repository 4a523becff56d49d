"""A look into a running body in the browser: again and again while it runs, and stale afterwards."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from playwright.async_api import expect

from gnomon import Job


async def test_a_running_body_is_looked_into_until_it_ends(open_page: Any, serve: Any) -> None:
    first, second = threading.Event(), threading.Event()

    def digs(depth: int = 150) -> None:
        if depth:
            return digs(depth - 1)
        first.wait()  # here
        second.wait()  # there
        return None

    served = await serve(Job(id="digs", func=digs))
    run = (await served.kernel.trigger("digs", actor="test")).execution.id
    window = await open_page(served.url, f"/runs/{run}", allowed=("503",))
    page, panel = window.page, window.page.locator(".panel.inside")
    await expect(panel).to_contain_text("Values of variables are never shown")

    await panel.get_by_role("button", name="Look inside").click()
    await expect(panel.locator(".frame", has_text="first.wait()  # here")).to_be_visible()
    await expect(panel).to_contain_text("calls left out …")
    await expect(panel).to_contain_text("shared with other runs")
    await expect(panel).to_contain_text("CPU time since its start")
    await panel.get_by_role("button", name="Look again").click()
    await expect(panel.locator(".samples li")).to_have_count(2)
    await expect(panel.locator(".samples li").first).to_contain_text("same place")

    first.set()
    while "second.wait" not in (await served.kernel.sample(run)).stacks[0].frames[-3].source:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    async with page.expect_response("**/sample"):
        await panel.get_by_role("button", name="Look again").click()
    await expect(panel.locator(".samples li")).to_have_count(3)
    await expect(panel.locator(".samples li").first).to_contain_text("elsewhere than before")
    await expect(panel.locator(".frame", has_text="second.wait()  # there")).to_be_visible()
    await panel.locator(".samples button").nth(2).click()
    await expect(panel.locator(".frame", has_text="first.wait()  # here")).to_be_visible()

    problem = '{"title":"Service Unavailable","status":503,"detail":"no kernel leads"}'
    await page.route(
        "**/sample", lambda route: route.fulfill(status=503, content_type="application/problem+json", body=problem)
    )
    await panel.get_by_role("button", name="Look again").click()
    await expect(panel.get_by_role("alert")).to_contain_text("no kernel leads")
    second.set()
    await expect(panel.get_by_role("status")).to_contain_text("Stale: the run ended at")
    await expect(panel.get_by_role("button", name="Look again")).to_have_count(0)
    await expect(panel.locator(".frame", has_text="first.wait()  # here")).to_be_visible()
