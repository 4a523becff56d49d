"""Workers elsewhere in the page: the system panel lists them, and a run shows the queue in which it waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import expect

from axe import violations
from elsewhere_runner import Elsewhere, ElsewherePlugin, job_elsewhere, trigger_elsewhere
from gnomon import QueueState, WorkerState, WorkerView

WORDS = {
    "en": [
        "Workers",
        "celery@a online",
        "3 of 4 busy",
        "celery@b gone",
        "no worker takes its runs",
        "1 waiting, 0 workers",
    ],
    "zh-CN": [
        "工作进程",
        "celery@a 在线",
        "忙碌 3 / 4",
        "celery@b 失联",
        "没有工作进程接收其执行",
        "等待 1",
    ],
}
IN_QUEUE = {"en": "in queue mails since", "zh-CN": "在队列 mails 中等待"}


@pytest.mark.parametrize("locale", WORDS)
async def test_workers_and_queues_are_shown_with_the_runs_that_wait(open_page: Any, serve: Any, locale: str) -> None:
    elsewhere, seen = Elsewhere(), datetime(2026, 1, 1, tzinfo=UTC)
    online = WorkerState(name="celery@a", concurrency=4, active=3, queues=["reports"], seen=seen)
    gone = WorkerState(name="celery@b", state="gone", active=1, seen=seen)
    elsewhere.view = WorkerView(workers=[online, gone], queues=[QueueState(name="reports", workers=1)])
    served = await serve(job_elsewhere("mail", "mails"), plugins=[ElsewherePlugin(elsewhere)])
    run = await trigger_elsewhere(served.kernel, elsewhere, "mail")
    window = await open_page(served.url, "/", locale=locale, reduced_motion="reduce")
    page = window.page

    await expect(page.locator(".run .left")).to_contain_text(IN_QUEUE[locale])
    await window.follow(f"/runs/{run}")
    await expect(page.locator("main")).to_contain_text(IN_QUEUE[locale])

    await window.follow("/jobs", "panel=system")
    panel = page.get_by_role("dialog")
    for words in WORDS[locale]:
        await expect(panel).to_contain_text(words)
    assert await violations(window) == []

    elsewhere.view = RuntimeError("the broker cannot be reached")
    await expect(panel).to_contain_text("cannot be listed: the broker cannot be reached")
