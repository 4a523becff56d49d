"""Addresses of nothing: a page with status 404 that leads on, and no guess about what others may see."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import pytest
from playwright.async_api import expect

from gnomon import Job

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def quick() -> None: ...


@pytest.mark.parametrize("base_path", ["", "/api"])
async def test_unknown_addresses_are_pages_with_status_404(open_page: Any, serve: Any, base_path: str) -> None:
    served = await serve(Job(id="quick", func=quick, name="Quick"), base_path=base_path)
    run = (await served.kernel.trigger("quick")).execution.id
    root = served.url  # with its base path
    known = ("/", "/jobs/quick", f"/runs/{run}", "/alerts")
    unknown = ("/nothing", "/jobs/nobody", f"/runs/{'0' * 24}", "/jobs/quick/nothing")
    async with aiohttp.ClientSession(headers=HTML) as client:
        for status, paths in ((200, known), (404, unknown)):
            for path in paths:
                answer = await client.get(root + path)
                assert (path, answer.status, answer.content_type) == (path, status, "text/html")
                assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
                again = await client.get(root + path, headers={"If-None-Match": answer.headers.get("ETag", "")})
                assert again.status == (304 if status == 200 else 404), path
        # Programs get a problem, and so does every path of the API.
        for path, headers in (("/nothing", {"Accept": "application/json"}), ("/scheduler/nothing", HTML)):
            answer = await client.get(root + path, headers=headers)
            assert (answer.status, answer.content_type) == (404, "application/problem+json")
    window = await open_page(served.url, "/nothing/here", allowed=("404",))
    page = window.page
    await expect(page.locator("h1")).to_have_text("Page not found")
    await expect(page).to_have_title(re.compile("Page not found"))
    await window.go("/jobs/quack")
    await expect(page.locator("h1")).to_have_text("Job quack not found")
    await expect(page.locator("main .panel")).to_have_count(0)  # no panels that load for ever
    await page.get_by_role("link", name="Quick").click()  # the nearest name
    await expect(page.locator("h1")).to_have_text("Quick")
    await window.go(f"/runs/{'0' * 24}")
    await expect(page.locator("h1")).to_have_text("Run not found")
    await page.get_by_role("link", name="Runs").last.click()
    await expect(page.locator("h1")).to_have_text("Runs")


async def test_who_is_not_logged_in_cannot_probe_for_jobs(serve: Any, secrets: dict[str, str]) -> None:
    served = await serve(Job(id="quick", func=quick), guarded=True)
    async with aiohttp.ClientSession(headers=HTML) as client:
        statuses = [(await client.get(served.url + path)).status for path in ("/jobs/quick", "/jobs/nobody")]
        assert statuses == [200, 200], "the login comes first"
        token = {"Authorization": f"Bearer {secrets['viewer']}"}
        statuses = [(await client.get(served.url + path, headers=token)).status for path in ("/jobs/quick", "/jobs/no")]
        assert statuses == [200, 404]
