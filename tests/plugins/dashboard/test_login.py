"""Who may see the page, and what each role is offered."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from gnomon import Context, Job

REFUSED = ("HTTP Authentication failed", "401")


async def quick(ctx: Context) -> None: ...


async def log_in(window: Any, token: str) -> None:
    await window.page.get_by_label("Token").fill(token)
    await window.page.get_by_role("button", name="Log in").click()


async def test_who_is_not_known_gets_the_login_and_comes_back_to_the_same_page(
    open_page: Any, serve: Any, secrets: dict[str, str]
) -> None:
    served = await serve(Job(id="quick", func=quick), guarded=True)
    window = await open_page(served.url, "/jobs/quick", may_say=REFUSED)
    page = window.page

    await expect(page.locator("h1")).to_have_text("Log in")
    await log_in(window, "wrong-but-long-enough")
    await expect(page.get_by_role("alert")).to_have_text("This token is not known.")
    await log_in(window, secrets["operator"])

    await expect(page.locator("h1")).to_have_text("quick")
    await expect(page.get_by_role("button", name="Run now: quick")).to_be_visible()
    cookies = await page.context.cookies()
    assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
    assert not any(
        secrets["operator"] in text for text in [page.url, *(await page.evaluate("Object.values(localStorage)"))]
    )


async def test_a_session_ends_on_all_pages_when_one_logs_out(
    open_page: Any, serve: Any, secrets: dict[str, str]
) -> None:
    served = await serve(Job(id="quick", func=quick), guarded=True)
    window = await open_page(served.url, "/jobs", may_say=REFUSED)
    await log_in(window, secrets["viewer"])
    await expect(window.page.locator("tr[data-row]")).to_have_count(1)

    await window.page.keyboard.press("g")
    await window.page.keyboard.press("s")
    await expect(window.page.get_by_role("dialog")).to_contain_text("viewer (viewer)")
    await window.page.get_by_role("button", name="Log out").click()

    await expect(window.page.locator("h1")).to_have_text("Log in")
    await window.reload()
    await expect(window.page.locator("h1")).to_have_text("Log in")


@pytest.mark.parametrize(
    ("role", "offered"),
    [("viewer", []), ("operator", ["Cancel"]), ("admin", ["Mark failed", "Cancel"])],
)
async def test_each_role_is_offered_what_it_may_do(
    open_page: Any, serve: Any, secrets: dict[str, str], role: str, offered: list[str]
) -> None:
    import asyncio

    async def waits() -> None:
        await asyncio.sleep(600)

    served = await serve(Job(id="waits", func=waits), guarded=True)
    run = (await served.kernel.trigger("waits", actor="test")).execution.id
    window = await open_page(served.url, f"/runs/{run}", may_say=REFUSED)

    await log_in(window, secrets[role])

    await expect(window.page.locator(".head .badge")).to_have_text("Running")
    await expect(window.page.locator(".head button")).to_have_text(offered)


async def test_too_many_wrong_tokens_are_told_to_wait(open_page: Any, serve: Any) -> None:
    served = await serve(guarded=True, failed_logins=1)
    window = await open_page(served.url, "/", may_say=(*REFUSED, "429"))
    await log_in(window, "wrong-but-long-enough")
    await expect(window.page.get_by_role("alert")).to_have_text("This token is not known.")

    await log_in(window, "wrong-but-long-enough")

    await expect(window.page.get_by_role("alert")).to_contain_text("Too many wrong tokens.")
