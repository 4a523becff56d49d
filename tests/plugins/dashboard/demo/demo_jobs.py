"""Jobs like those of a data service. In a generated history they sleep on the virtual clock of the kernel."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from gnomon import Context

log = logging.getLogger("demo")
sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


def make_chance() -> random.Random:
    """Return a generator with a fixed seed."""
    return random.Random(7)


chance = make_chance()


class UpstreamTimeout(Exception):
    """The upstream server did not answer in time."""


async def bars(ctx: Context, market: str = "cn", symbols: int = 120, seconds: float = 48.0) -> dict[str, object]:
    """Fetch, validate and store the bars of a day."""
    pace = seconds * chance.uniform(0.7, 1.5) / (symbols + 12)
    ctx.step("fetch")
    log.info("market %s: %d symbols", market, symbols)
    for number in ctx.track(range(symbols)):
        ctx.progress(current_item=f"{600000 + number * 7:06d}.SH")
        await sleep(pace)
    ctx.step("validate")
    ctx.progress(message="comparing with yesterday's close")
    await sleep(pace * 6)
    ctx.step("store")
    ctx.progress(message="writing")
    await sleep(pace * 6)
    log.info("%d new rows", symbols)
    return {"rows": symbols, "market": market}


async def quotes(ctx: Context, seconds: float = 5.0) -> int:
    """Fetch the current quotes."""
    pages = 20
    for page in ctx.track(range(pages)):
        await sleep(seconds * chance.uniform(0.6, 1.6) / pages)
        if chance.random() < 0.0025:
            read_page(f"https://data.example/quotes?page={page}")
    return pages


async def news(ctx: Context, fails: float = 0.12) -> int:
    """Crawl the news."""
    ctx.progress(message="reading the front page")
    await sleep(chance.uniform(4, 30))
    if chance.random() < fails:
        log.warning("the front page is slow")
        read_page("https://news.example/latest")
    return chance.randrange(80)


async def report(ctx: Context) -> str:
    """Write the daily report."""
    ctx.step("collect")
    await sleep(chance.uniform(20, 40))
    ctx.step("render")
    await sleep(chance.uniform(10, 60))
    return "report-2026-11-25.pdf"


async def quick(ctx: Context) -> str:
    """Return at once."""
    await sleep(0.2)
    return "ok"


def read_page(url: str) -> None:
    """Read a page, which times out."""
    try:
        raise TimeoutError("no answer within 30 s")
    except TimeoutError as exc:
        raise UpstreamTimeout(f"GET {url} timed out after 30 s") from exc
