"""The log of a run in the browser: any length, searched on the server, folded, linked, followed."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

from playwright.async_api import expect

from gnomon import Context, Job

LINES = 100_000
MOST_ELEMENTS = 600
"""Elements of a log in the document, however long it is: 19 rows are in view, and 16 are beside them."""


async def elements(page: Any) -> int:
    return int(await page.evaluate("document.querySelectorAll('.log *').length"))


async def test_a_log_of_a_hundred_thousand_lines_is_shown_searched_and_linked(open_page: Any, serve: Any) -> None:
    async def talks(ctx: Context) -> None:
        ctx.step("load")
        for number in range(LINES):
            if number % 2_000 == 0:
                await asyncio.sleep(0)
            if number == LINES // 2:
                ctx.step("save")
            level = "error" if number % 25_000 == 4_999 else "info"
            ctx.log_line(level, f"row {number} of the Report", "talks")

    served = await serve(Job(id="talks", func=talks), kernel={"log_lines": LINES})
    run = (await served.kernel.trigger("talks", actor="test")).execution.id
    await served.kernel.wait(run)
    window = await open_page(served.url, f"/runs/{run}#L50001")
    page = window.page
    log, summary, target = page.locator(".log"), page.locator(".log-summary"), page.locator(".log .line.target")

    # The line of the address, in the middle of a log of which nothing else is loaded.
    await expect(target).to_contain_text("row 50000 of the Report")
    await expect(target).to_be_in_viewport()
    await expect(summary).to_contain_text(re.compile("4 errors.*100,000 lines"))
    await expect(page.locator(".log .step")).to_contain_text("save 50,000 lines")
    assert await elements(page) < MOST_ELEMENTS
    height = await log.evaluate("box => box.scrollHeight")
    assert height == (LINES + 2) * 22  # and two headings

    await log.press("End")
    await expect(page.locator(".log .line").last).to_contain_text("row 99999")
    await log.press("Home")
    await expect(page.locator(".log .line").first).to_contain_text("load 50,000 lines")
    await log.evaluate("box => { box.scrollTop = box.scrollHeight / 4 }")
    await expect(page.locator(".log .line", has_text="row 25000 of")).to_be_in_viewport()
    assert await log.evaluate("box => box.scrollHeight") == height
    assert await elements(page) < MOST_ELEMENTS

    await steps_are_folded_and_hits_are_found(page)
    await errors_are_reached_one_after_the_other(page)
    assert await elements(page) < MOST_ELEMENTS


async def steps_are_folded_and_hits_are_found(page: Any) -> None:
    log, summary, target = page.locator(".log"), page.locator(".log-summary"), page.locator(".log .line.target")
    await log.press("Home")
    await page.get_by_role("button", name="load 50,000 lines").click()
    await expect(page.locator(".log .line").nth(1)).to_contain_text("save")
    await expect(page.locator(".log .line").nth(2)).to_contain_text("row 50000")

    # A search goes to its hits, also within what is folded.
    await page.get_by_label("Search the log").fill("ROW 777")
    await expect(page.locator(".log-find")).to_contain_text("1 of 111")
    await expect(target.locator("mark")).to_have_text("row 777")
    for key, place, line in (
        ("Enter", "2 of 111", 7770),
        ("Shift+Enter", "1 of 111", 777),
        ("Shift+Enter", "111 of 111", 77799),
    ):
        await page.get_by_label("Search the log").press(key)
        await expect(page.locator(".log-find")).to_contain_text(place)
        await expect(target).to_contain_text(f"row {line} of")
        await expect(target).to_be_in_viewport()
    await page.get_by_role("button", name="Only hits").click()
    await expect(summary).to_contain_text("111 of 100,000 kept lines match")
    await page.get_by_role("button", name="Next hit").click()
    await expect(page.locator(".log .line").first).to_contain_text("row 777 of")
    await page.get_by_label("Search the log").fill("")
    await expect(summary).to_contain_text("100,000 lines")


async def errors_are_reached_one_after_the_other(page: Any) -> None:
    target = page.locator(".log .line.target")
    await page.get_by_role("button", name="Go to next error").click()
    await expect(target).to_contain_text("row 4999")
    await page.get_by_role("button", name="Go to next error").click()
    await expect(target).to_contain_text("row 29999")
    await page.get_by_role("button", name="4 errors").click()
    await expect(page.locator(".log .line.error")).to_have_count(4)

    # A line of the address wins over filters; one that is not there is named.
    await page.evaluate("location.hash = '#L12'")
    await expect(target).to_contain_text("row 11 of")
    await page.evaluate("location.hash = '#L100001'")
    await expect(page.locator(".log-panel")).to_contain_text("Line 100,001 is not kept.")


FRAMES = [part for name in ("walk", "visit") for part in (f'  File "tree.py", line 7, in {name}', f"    {name}(node)")]
"""Two frames of a recursion, as a traceback has them."""


async def test_a_log_grows_live_and_what_repeats_is_folded(open_page: Any, serve: Any) -> None:
    more, much, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def talks(ctx: Context) -> None:
        log = logging.getLogger("talks")
        log.setLevel(logging.DEBUG)
        log.info("\x1b[31mred\x1b[0m and \u202eturned around")
        for _ in range(100):
            log.warning("again")
        for number in range(40):
            log.debug("line %d", number)
        log.error("\n".join(["Traceback", *FRAMES * 50, "RecursionError"]))
        log.info("long %s end", "x" * 5000)
        await more.wait()
        log.error("it burns")
        await much.wait()
        for number in range(12):
            log.info("ash %d", number)
        await end.wait()

    served = await serve(Job(id="talks", func=talks))
    run = (await served.kernel.trigger("talks", actor="test")).execution.id
    window = await open_page(served.url, f"/runs/{run}", height=1600, allowed=("ERR_FAILED",))
    page = window.page
    summary, lines = page.locator(".log-summary"), page.locator(".log .line")
    follow = page.get_by_role("button", name="Follow")

    # It follows the end until the reader scrolls up, and then counts what is new.
    await expect(lines.last).to_be_in_viewport()
    more.set()
    await expect(lines.last).to_contain_text("it burns")
    await expect(lines.last).to_be_in_viewport()
    await expect(follow).to_have_attribute("aria-pressed", "true")
    await page.locator(".log").hover()
    await page.mouse.wheel(0, -10_000)
    await expect(follow).to_have_attribute("aria-pressed", "false")
    await expect(lines.first).to_contain_text("red and ‹U+202E›turned around")
    much.set()
    await page.get_by_role("button", name="12 new lines").click()
    await expect(lines.last).to_contain_text("ash 11")
    await expect(lines.last).to_be_in_viewport()
    await expect(summary).to_contain_text("156 lines")

    await what_repeats_is_one_row(window)
    await long_lines_are_cut_and_wrap(window)
    await what_is_kept_is_downloaded(page, run)
    end.set()


async def what_repeats_is_one_row(window: Any) -> None:
    page, log = window.page, window.page.locator(".log")
    await log.press("Home")
    await page.get_by_role("button", name="… the last line repeated 99 times").click()
    await expect(log.locator(".line", has_text="again").nth(20)).to_be_attached()
    await page.get_by_role("button", name="… the last line repeated 99 times").click()
    await page.get_by_role("button", name="Go to next error").click()
    error = page.locator(".log .line.target")
    await expect(error.locator(".text")).to_have_text("Traceback+ 201 lines")
    height = await log.evaluate("box => box.scrollHeight")
    await error.get_by_role("button").click()
    await expect(error.locator("em")).to_have_text("… the last 4 lines repeated 49 times")
    await expect(error).to_contain_text(re.compile("in visit.*the last 4 lines.*RecursionError.*Show less", re.DOTALL))
    await window.becomes("document.querySelector('.log').scrollHeight > arg", arg=height + 5 * 22)
    await error.get_by_role("button").click()
    await window.becomes("document.querySelector('.log').scrollHeight", height)


async def long_lines_are_cut_and_wrap(window: Any) -> None:
    page, error = window.page, window.page.locator(".log .line.target")
    height = await page.evaluate("document.querySelector('.log').scrollHeight")
    await page.get_by_label("Search the log").fill("long x")
    await expect(error.get_by_role("button")).to_have_text("+ 3,009 characters")
    await page.get_by_role("button", name="Wrap").click()
    await window.becomes("document.querySelector('.log').scrollHeight > arg", arg=height + 5 * 22)
    await expect(error).to_be_in_viewport()
    await error.get_by_role("button").click()
    await expect(error).to_contain_text("x end")
    await page.get_by_role("button", name="Wrap").click()
    await page.get_by_label("Search the log").fill("nowhere")
    await expect(page.locator(".log-find")).to_contain_text("no hits")


async def what_is_kept_is_downloaded(page: Any, run: str) -> None:
    summary = page.locator(".log-summary")
    await page.get_by_label("Search the log").fill("")
    for level, name, many, last in (
        ("error", "Download 2 lines", 203, "it burns"),
        ("debug", "Download", 357, "ash 11"),
    ):
        await page.get_by_label("Minimum level").select_option(level)
        async with page.expect_download() as saving:
            await page.get_by_role("button", name=name, exact=True).click()
        saved = await saving.value
        assert saved.suggested_filename == f"{run}.log"
        kept = Path(await saved.path()).read_text("utf-8").splitlines()
        assert (len(kept), kept[-1].endswith(last)) == (many, True)
    await page.route("**/log?*", lambda route: route.abort())
    await page.get_by_role("button", name="Download").click()
    await expect(page.locator(".toasts")).to_contain_text("Loading failed")
    await page.get_by_role("button", name="Go to next error").click()
    await expect(page.locator(".log-panel").get_by_role("alert")).to_be_visible()
    await page.get_by_label("Search the log").fill("ash")
    await expect(page.locator(".log-find")).to_contain_text("…")
    await page.get_by_label("Search the log").press("Enter")
    await page.get_by_label("Search the log").fill("")
    await page.get_by_label("Minimum level").select_option("warning")
    await expect(page.locator(".log-panel").get_by_role("alert")).to_be_visible()
    await page.unroute("**/log?*")
    await page.locator(".log-panel").get_by_role("button", name="Try again").click()
    await expect(summary).to_contain_text("102 of 156 kept lines match")


def walk() -> None:
    visit()


def visit() -> None:
    walk()


async def test_a_log_that_was_cut_says_how_much_and_counts_all_that_is_kept(open_page: Any, serve: Any) -> None:
    async def floods() -> None:
        for number in range(2_462):  # the newest 2,000 lines are kept
            log = logging.getLogger("floods")
            (log.error if number in {10, 700, 800, 900} else log.warning)("drop %d", number)
        walk()

    served = await serve(Job(id="floods", func=floods))
    run = (await served.kernel.trigger("floods", actor="test")).execution.id
    await served.kernel.wait(run)
    window = await open_page(served.url, f"/runs/{run}#L5")
    page = window.page
    lines, summary = page.locator(".log .line"), page.locator(".log-summary")
    told = ["3 errors", "1,997 warnings", "2,000 lines", "lines 1–462 not kept"]
    await expect(summary).to_contain_text(re.compile(".*".join(told)))
    await expect(page.locator(".log-panel")).to_contain_text("Line 5 is not kept.")
    await expect(lines.first).to_contain_text("drop 462")

    await page.locator(".log a.num", has_text="465").click()
    assert page.url.endswith("#L465")
    await expect(page.locator(".log .line.target")).to_contain_text("drop 464")
    await expect(page.locator(".log-panel")).not_to_contain_text("is not kept.")
    await page.get_by_role("button", name="3 errors").click()
    await expect(lines.locator(".text")).to_have_text(["drop 700", "drop 800", "drop 900"])
    await expect(summary).to_contain_text("3 of 2,000 kept lines match")
    await expect(page.locator(".traceback")).to_contain_text(re.compile(r"… the last 2 frames repeated \d+ times"))
