"""Jobs that are added, copied, changed and removed in the page, with the preview beside the form."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from playwright.async_api import expect

from clicks import COUNT_CLICKS
from gnomon import Job, SecretReference, UnknownJobError


async def load(day: date, rows: int = 10, token: str = "", *, full: bool = False) -> str:
    return repr((day, rows, len(token), full))


def declared(**keys: Any) -> Job:
    secret = SecretReference(env="PATH")
    return Job(id="load", func=load, kwargs={"day": "2026-01-01", "token": secret}, tags=["night"], **keys)


async def dialog_button(page: Any, name: str) -> None:
    await page.locator("dialog[open]").get_by_role("button", name=name, exact=True).click()


async def test_a_job_is_added_in_two_clicks_with_the_preview_beside_the_form(open_page: Any, serve: Any) -> None:
    served = await serve(declared())
    window = await open_page(served.url, "/jobs")
    page, form = window.page, window.page.locator("dialog[open]")
    preview = form.get_by_label("Preview")
    await page.evaluate(COUNT_CLICKS)

    await page.get_by_role("button", name="New job").click()
    await expect(preview.get_by_role("heading")).to_have_text("Not valid yet")
    await form.get_by_label("Id", exact=True).fill("nightly")
    await form.get_by_label("Function").fill("load")
    await form.get_by_label("Function").press("Tab")
    await expect(form.get_by_label("Day")).to_have_value("2026-01-01")
    await form.get_by_label("Day").fill("2026-12-31")
    await form.get_by_label("Rows").fill("25")
    await form.get_by_label("Schedule").select_option("cron")
    await form.get_by_label("Expression").fill("0 18 * * 7 7 7")
    await expect(preview).to_contain_text("cron")
    await expect(preview.get_by_role("heading")).to_have_text("Not valid yet")
    await form.get_by_label("Expression").fill("0 18 * * *")
    await form.get_by_label("Time zone").fill("Asia/Shanghai")
    await form.get_by_label("More keys").fill("{timeout")
    await expect(preview).to_contain_text("not valid JSON")
    await form.get_by_label("More keys").fill('{"timeout": "10m"}')
    await expect(preview.get_by_role("heading")).to_have_text("Preview")
    await expect(preview.locator(".times li")).to_have_count(10)
    await dialog_button(page, "Add job")
    assert await page.evaluate("window.clicks") == 2  # what is typed and chosen in the form is not counted
    await page.get_by_role("link", name="View job").click()
    await expect(page.locator(".head h1")).to_have_text("nightly")

    view = await served.kernel.job("nightly")
    assert (view.state.origin, view.job.cron, str(view.job.timeout)) == ("api", "0 18 * * *", "10m")
    assert (view.job.timezone, view.job.kwargs["day"], view.job.kwargs["rows"]) == ("Asia/Shanghai", "2026-12-31", 25)


async def test_an_id_that_exists_and_a_function_that_is_not_allowed_are_refused(open_page: Any, serve: Any) -> None:
    served = await serve(declared())
    window = await open_page(served.url, "/jobs", allowed=("Failed to load resource",))
    page, form = window.page, window.page.locator("dialog[open]")

    await page.get_by_role("button", name="New job").click()
    await form.get_by_label("Id", exact=True).fill("load")
    await form.get_by_label("Function").fill("load")
    await dialog_button(page, "Add job")
    await expect(form.get_by_role("alert")).to_contain_text("load")
    await form.get_by_label("Id", exact=True).fill("other")
    await form.get_by_label("Function").fill("os:system")
    await form.get_by_label("Function").press("Tab")
    await expect(form.get_by_label("Preview")).to_contain_text("allow_functions")
    await form.get_by_label("More arguments").fill('{"command": "true"}')
    await dialog_button(page, "Add job")
    await expect(form.get_by_role("alert")).to_contain_text("allow_functions")
    await dialog_button(page, "Discard changes")

    assert [view.job.id for view in await served.kernel.jobs()] == ["load"]


async def test_a_job_is_copied_changed_and_removed(open_page: Any, serve: Any) -> None:
    served = await serve(declared(cron="0 18 * * *"))
    window = await open_page(served.url, "/jobs/load")
    page, form = window.page, window.page.locator("dialog[open]")

    await expect(page.get_by_role("button", name="Change", exact=True)).to_have_count(0)
    await page.get_by_role("button", name="Copy", exact=True).click()
    await expect(form.get_by_label("Function")).to_have_value("load")
    await expect(form.get_by_label("Expression")).to_have_value("0 18 * * *")
    await expect(form.get_by_label("Day")).to_have_value("2026-01-01")
    await expect(form.get_by_label("Token")).to_have_attribute("placeholder", "from the environment variable PATH")
    await expect(form.get_by_label("More keys")).to_have_value(re.compile('"night"'))
    await form.get_by_label("Id", exact=True).fill("copy")
    await form.get_by_label("Full").check()
    await dialog_button(page, "Add job")
    await page.get_by_role("link", name="View job").click()
    await expect(page.locator(".head h1")).to_have_text("copy")
    copied = (await served.kernel.job("copy")).job
    secret = {"$secret": {"env": "PATH"}}
    assert copied.kwargs == {"day": "2026-01-01", "token": secret, "full": True}
    assert (copied.cron, copied.tags) == ("0 18 * * *", ["night"])

    await page.get_by_role("button", name="Change", exact=True).click()
    await expect(form.get_by_label("Id", exact=True)).not_to_be_editable()
    await form.get_by_label("Schedule").select_option("every")
    await form.get_by_label("Expression").fill("6h")
    await form.get_by_label("Rows").fill("7")
    await expect(form.get_by_label("Preview")).to_contain_text(re.compile("Within 7 days: .* gained, 7 lost"))
    await dialog_button(page, "Save")
    await expect(page.get_by_role("status").last).to_contain_text("copy was changed.")
    changed = (await served.kernel.job("copy")).job
    assert (changed.cron, str(changed.every)) == (None, "6h")
    assert changed.kwargs == {"day": "2026-01-01", "token": secret, "full": True, "rows": 7}

    await page.get_by_role("button", name="Remove", exact=True).click()
    await dialog_button(page, "Remove")
    await expect(page.get_by_role("status").last).to_contain_text("copy was removed.")
    with pytest.raises(UnknownJobError):
        await served.kernel.job("copy")


async def test_a_change_that_comes_too_late_is_refused(open_page: Any, serve: Any) -> None:
    served = await serve(declared())
    await served.kernel.add_job("load", id="mine", every="1h", kwargs={"day": "2026-01-01"})
    window = await open_page(served.url, "/jobs/mine", allowed=("Failed to load resource",))
    page, form = window.page, window.page.locator("dialog[open]")

    await page.get_by_role("button", name="Change", exact=True).click()
    await expect(form.get_by_label("Expression")).to_have_value("1h")
    await served.kernel.change_job("mine", every="2h")
    await form.get_by_label("Expression").fill("3h")
    await dialog_button(page, "Save")
    await expect(form.get_by_role("alert")).to_contain_text("version")

    assert str((await served.kernel.job("mine")).job.every) == "2h"


async def test_only_admins_see_the_buttons(open_page: Any, serve: Any, secrets: Any) -> None:
    served = await serve(declared(), guarded=True)
    window = await open_page(served.url, "/jobs/load", allowed=("HTTP Authentication failed", "401"))
    await window.page.get_by_label("Token").fill(secrets["operator"])
    await window.page.get_by_role("button", name="Log in").click()

    await expect(window.page.locator(".panel", has_text="Definition")).to_contain_text("Function")
    await expect(window.page.get_by_role("button", name="Copy", exact=True)).to_have_count(0)
