"""Layouts that hold what is put into them: tablets, fingers, and texts of five hundred lines."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect

from gnomon import Context, Job

LINES = "\n".join(f"line {number} of a statement that no screen holds" for number in range(500))


def verbose(ctx: Context, statement: str = "") -> None:
    ctx.progress(50, LINES)
    raise ValueError(LINES)


async def test_the_actions_of_a_list_stay_on_the_screen_at_every_width(open_page: Any, day: str) -> None:
    outside = """[...document.querySelectorAll('main table button, main table a, main .head button')]
        .filter((one) => one.checkVisibility()).map((one) => [one.textContent, one.getBoundingClientRect()])
        .filter(([, box]) => box.right > innerWidth || box.left < 0).map(([text]) => text)"""
    for locale in ("en-US", "zh-CN"):
        window = await open_page(day, "/jobs", locale=locale)
        for path in ("/jobs", "/runs", "/jobs/daily_bars"):
            await window.follow(path)
            await window.loaded()
            for width in (1280, 1024, 900, 820, 768, 600, 390):
                await window.page.set_viewport_size({"width": width, "height": 900})
                await window.becomes(f"[arg, ...{outside}]", [f"{locale} {path} {width}"], f"{locale} {path} {width}")


async def test_the_labels_of_time_axes_are_not_cut_off(open_page: Any, day: str) -> None:
    cut = """[...document.querySelectorAll('main svg .tick text')].map((one) => [one.textContent, one.getBoundingClientRect(), one.ownerSVGElement.getBoundingClientRect()])
        .filter(([, label, chart]) => label.right > chart.right + 1 || label.left < chart.left - 1).map(([text]) => text)"""
    for width in (1280, 390):
        window = await open_page(day, "/", width=width)
        for window_name in ("1h", "6h", "24h", "7d", "30d"):
            await window.follow("/", f"window={window_name}")
            await window.loaded()
            assert await window.inside("document.querySelectorAll('main svg .tick text').length") > 1
            assert await window.inside(cut) == [], (width, window_name)


async def test_checkboxes_are_large_enough_for_fingers(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs", width=390, has_touch=True, is_mobile=True)
    sizes = """[...document.querySelectorAll('input[type=checkbox]')].filter((one) => one.checkVisibility())
        .map((one) => [one, one.closest('label')].map((part) => part.getBoundingClientRect()))
        .map(([own, target]) => [Math.min(own.width, own.height), Math.min(target.width, target.height)])"""
    boxes = await window.inside(sizes)
    await window.page.get_by_role("button", name="Run now: News").click()
    await expect(window.page.locator("dialog[open] input[type=checkbox]").first).to_be_visible()
    boxes += await window.inside(sizes)
    assert len(boxes) > 8
    assert min(own for own, _ in boxes) >= 24
    assert min(target for _, target in boxes) >= 44


async def test_five_hundred_lines_push_nothing_down(open_page: Any, serve: Any) -> None:
    served = await serve(Job(id="verbose", func=verbose, kwargs={"statement": LINES}, description="A job."))
    run = (await served.kernel.trigger("verbose")).execution.id
    await served.kernel.wait(run)
    window = await open_page(served.url, f"/runs/{run}")
    page = window.page
    await expect(page.locator(".traceback")).to_be_visible()
    await window.loaded()
    for summary in await page.get_by_role("button", name="Show raw event").all():
        await summary.click()
    for path in (f"/runs/{run}", "/", "/alerts", "/runs", "/jobs/verbose"):
        await window.follow(path)
        await window.loaded()
        tall = """[...document.querySelectorAll('main *')].filter((one) => one.children.length === 0)
            .filter((one) => one.getBoundingClientRect().height > 600 && !one.closest('.traceback, .json, .log, .long'))
            .map((one) => one.className || one.tagName)"""
        await window.becomes(f"[arg, ...{tall}]", [path], path)
        # The text itself scrolls within its place, which the keyboard reaches.
        assert await window.inside("document.documentElement.scrollHeight") < 4000, path
    await window.follow(f"/runs/{run}")
    await expect(page.locator(".traceback")).to_contain_text("line 499")
    await expect(page.locator(".error h2")).not_to_contain_text("line 9 ")
