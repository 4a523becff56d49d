"""The numbers on the pages equal a plain count of the log, and agree with each other: for random logs."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import expect
from random_log import JOBS, NOW, served_log  # type: ignore[import-not-found]  # in the folder of the demo

from random_logs import ends_of, runs_of

STATUSES = ("success", "failed", "missed", "cancelled")


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_numbers_on_the_pages_are_those_of_the_log(open_page: Any, seed: int) -> None:
    async with served_log(seed) as (log, url):
        runs, since = runs_of(log), NOW - timedelta(days=1)
        window = await open_page(url, "/", allowed=("ERR_CONNECTION", "WebSocket connection"))
        page = window.page

        # The counters, and the lists behind them.
        counted = Counter[str](run.status for run in runs if run.timestamp >= since)
        for status in STATUSES:
            await expect(page.locator(f".counter.{status} .figure")).to_have_text(str(counted[status]))
        going = sum(run.status == "running" for run in runs)
        await expect(page.locator(".counter.running .figure")).to_have_text(str(going))
        await expect(page.locator(".lanes .mark.running")).to_have_count(going)

        # The timeline of the last week counts ends, from the begin of a bucket on.
        await window.follow("/", "window=7d")
        await window.loaded()
        lanes = await page.evaluate(
            "(since) => fetch(`/scheduler/lanes?from=${since}&buckets=100`).then((found) => found.json())",
            (NOW - timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        ends = [end for end in ends_of(log) if lanes["from"] <= end.at.isoformat().replace("+00:00", "Z")]
        await page.get_by_text("Show as table").click()
        for job in JOBS:
            own = Counter[str]()
            for end in ends:
                own[end.status] += end.fires if end.job == job else 0
            cells = page.locator(".as-table tr", has_text=job).locator("td")
            expected = [own.total(), own["failed"], own["missed"], own["cancelled"]]
            assert (await cells.all_inner_texts())[:4] == [str(count) for count in expected]

        # The jobs: their newest runs as bars, and those that run.
        await window.follow("/jobs")
        await window.loaded()
        for job in JOBS:
            row = page.locator(f"tr[data-row='{job}']")
            newest = [run for run in runs if run.job_id == job]
            bars = [run.status for run in newest[:24] if run.is_over][::-1]
            classes = await row.locator(".spark .mark").evaluate_all("all => all.map((bar) => bar.classList[1])")
            assert classes == bars
            await expect(row.locator(".last .badge")).to_have_class(f"badge {newest[0].status}")
        await window.follow("/runs", "status=failed,missed")
        await window.loaded()
        await expect(page.locator(".head .count")).to_have_text(
            str(sum(r.status in {"failed", "missed"} for r in runs))
        )
