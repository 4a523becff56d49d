"""Create the screenshots for the documentation: every view, light and dark, of the day in day.py.

python tests/plugins/dashboard/demo/pictures.py docs/images

Tracebacks in them show the path of this folder: run a copy from a neutral place, such as /srv/app.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from day import served_day  # type: ignore[import-not-found]  # beside this file
from PIL import Image
from playwright.async_api import Browser, async_playwright, expect

from gnomon_alerts import AlertsPlugin
from gnomon_stats import StatsPlugin

MAX_BYTES = 60_000
"""The limit per screenshot: they stay in the repository forever."""
SIZE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 800}
VIEWS = {
    "overview": "/",
    "jobs": "/jobs",
    "job": "/jobs/daily_bars",
    "runs": "/runs",
    "run": "RUNNING",
    "run-failed": "FAILED",
    "alerts": "/alerts",
    "system": "/jobs?panel=system",
}
SETS = {
    "-light": ("light", SIZE, VIEWS),
    "-dark": ("dark", SIZE, VIEWS),
    "-phone": ("light", PHONE, {"overview": "/"}),
}
FIND = """(async () => {
    const newest = (query) => fetch(`/scheduler/logs?limit=1&${query}`).then((r) => r.json()).then((p) => p.items[0]._id);
    return { RUNNING: `/runs/${await newest('status=running&job_id=daily_bars')}`, FAILED: `/runs/${await newest('status=failed&q=timed')}` };
})()"""


async def take(browser: Browser, url: str, suffixes: Collection[str] = tuple(SETS)) -> dict[str, bytes]:
    """Return the screenshots of some sets by name, as uncompressed PNG files of the browser."""
    pictures = {}
    for suffix in suffixes:
        scheme, size, views = SETS[suffix]
        options: Any = {"color_scheme": scheme, "reduced_motion": "reduce", "locale": "en-US", "timezone_id": "UTC"}
        context = await browser.new_context(viewport=size, **options)  # type: ignore[arg-type]
        context.set_default_timeout(60_000)
        page = await context.new_page()
        await page.goto(url)
        found: dict[str, str] = await page.evaluate(FIND)
        for name, path in views.items():
            await page.goto(url + found.get(path, path))
            await page.locator("main h1[tabindex]").wait_for(state="attached")
            await expect(page.locator("main [aria-busy]")).to_have_count(0)
            await page.wait_for_timeout(250)  # charts wait for their width and their runs
            pictures[f"{name}{suffix}.png"] = await page.screenshot()
        await context.close()
    return pictures


def small(picture: bytes) -> bytes:
    """Compress a screenshot with a palette; pages have few colours, so the loss is invisible."""
    packed = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(160, kmeans=3, dither=Image.Dither.NONE).save(
        packed, "PNG", optimize=True
    )
    return packed.getvalue()


async def main(folder: Path) -> None:
    program = os.environ.get("GNOMON_TEST_CHROMIUM") or shutil.which("chromium")
    folder.mkdir(parents=True, exist_ok=True)
    async with served_day(25.1, StatsPlugin(), AlertsPlugin()) as (_, url), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, picture in (await take(browser, url)).items():
            (folder / name).write_bytes(small(picture))
            print(name)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
