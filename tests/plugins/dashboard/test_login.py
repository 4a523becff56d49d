"""Login, logout, and the actions of each role."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.async_api import expect

from gnomon import Context, Job
from gnomon.conversion import Secret
from gnomon_web.auth.oidc_config import Oidc
from oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider

REFUSED = ("HTTP Authentication failed", "401")


async def quick(ctx: Context) -> None: ...


async def stay(route: Any) -> None:
    """Answer a navigation so that the browser stays where it is."""
    await route.fulfill(status=204)


async def log_in(window: Any, token: str) -> None:
    await window.page.get_by_label("Token").fill(token)
    await window.page.get_by_role("button", name="Log in").click()


async def test_an_anonymous_visitor_logs_in_and_returns_to_the_same_page(
    open_page: Any, serve: Any, secrets: dict[str, str]
) -> None:
    served = await serve(Job(id="quick", func=quick), guarded=True)
    window = await open_page(served.url, "/jobs/quick", allowed=REFUSED)
    page = window.page

    await expect(page.locator("h1")).to_have_text("Log in")
    await log_in(window, "wrong-but-long-enough")
    await expect(page.get_by_role("alert")).to_have_text("Unknown token.")
    await log_in(window, secrets["operator"])

    await expect(page.locator("h1")).to_have_text("quick")
    await expect(page.get_by_role("button", name="Run now: quick")).to_be_visible()
    cookies = await page.context.cookies()
    assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
    assert not any(
        secrets["operator"] in text for text in [page.url, *(await page.evaluate("Object.values(localStorage)"))]
    )


async def test_logging_out_ends_the_session_on_all_pages(open_page: Any, serve: Any, secrets: dict[str, str]) -> None:
    served = await serve(Job(id="quick", func=quick), guarded=True)
    window = await open_page(served.url, "/jobs", allowed=REFUSED)
    await log_in(window, secrets["viewer"])
    await expect(window.page.locator("tr[data-row]")).to_have_count(1)

    await window.page.keyboard.press("g")
    await window.page.keyboard.press("s")
    await expect(window.page.get_by_role("dialog")).to_contain_text("viewer (viewer)")
    await window.page.keyboard.press("Escape")
    await window.reload()  # the page is not told again that there are tokens
    await window.page.get_by_role("button", name="Account: viewer").click()
    await expect(window.page.get_by_role("dialog")).to_contain_text("viewer (viewer) until")
    await window.page.get_by_role("button", name="Log out").click()

    await expect(window.page.locator("h1")).to_have_text("Log in")
    await window.reload()
    await expect(window.page.locator("h1")).to_have_text("Log in")


@pytest.mark.parametrize(
    ("role", "offered"),
    [("viewer", []), ("operator", ["Cancel"]), ("admin", ["Mark failed", "Cancel"])],
)
async def test_each_role_sees_only_its_actions(
    open_page: Any, serve: Any, secrets: dict[str, str], role: str, offered: list[str]
) -> None:
    import asyncio

    async def waits() -> None:
        await asyncio.sleep(600)

    served = await serve(Job(id="waits", func=waits), guarded=True)
    run = (await served.kernel.trigger("waits", actor="test")).execution.id
    window = await open_page(served.url, f"/runs/{run}", allowed=REFUSED)

    await log_in(window, secrets[role])

    await expect(window.page.locator(".head .badge")).to_have_text("Running")
    await expect(window.page.locator(".head button")).to_have_text(offered)


async def test_too_many_wrong_tokens_have_to_wait(open_page: Any, serve: Any) -> None:
    served = await serve(guarded=True, failed_logins=1)
    window = await open_page(served.url, "/", allowed=(*REFUSED, "429"))
    await log_in(window, "wrong-but-long-enough")
    await expect(window.page.get_by_role("alert")).to_have_text("Unknown token.")

    await log_in(window, "wrong-but-long-enough")

    await expect(window.page.get_by_role("alert")).to_contain_text("Too many failed attempts.")


async def test_a_user_of_the_provider_signs_in_and_returns_to_the_same_page(open_page: Any, serve: Any) -> None:
    provider = Provider(time.time)
    async with provider.server:
        roles: dict[Any, list[str]] = {"operator": ["ops"]}
        oidc = Oidc(provider.issuer, CLIENT_ID, roles, Secret(CLIENT_SECRET), name="Example")
        served = await serve(Job(id="quick", func=quick), oidc=oidc)
        window = await open_page(served.url, "/jobs/quick", allowed=(*REFUSED, "403"))
        page = window.page
        await page.route("**/login/oidc*", stay)  # leaving the page would lose what it has run of its code
        async with page.expect_request("**/login/oidc*"):
            await page.get_by_role("button", name="Sign in with Example").click()
        await window.count()
        await page.unroute("**/login/oidc*")
        await page.get_by_role("button", name="Sign in with Example").click()

        await expect(page.get_by_role("button", name="Run now: quick")).to_be_visible()
        assert page.url == f"{served.url}/jobs/quick"

        provider.user["groups"] = []
        await page.context.clear_cookies()
        await page.goto(f"{served.url}/login/oidc")
        await expect(page.get_by_role("alert")).to_contain_text("the claim 'groups' is missing")
        await page.get_by_role("link", name="Back to the login").click()
        await expect(page.locator("h1")).to_have_text("Log in")
