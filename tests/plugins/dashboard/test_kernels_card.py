"""The card of the kernels on a log: it follows each change of role, and says when nobody leads."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from axe import violations
from gnomon_sqlite import SqliteStore

OTHER = """
import asyncio, sys
from gnomon import Kernel
from gnomon_sqlite import SqliteStore

async def main():
    async with Kernel(store=SqliteStore(sys.argv[1]), node="other"):
        print("runs", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def other_kernel(log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a kernel on the log in another process, which is killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", OTHER, str(log), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"runs\n"
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_the_kernels_are_shown_and_change_with_their_roles(open_page: Any, serve: Any, tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    served = await serve(kernel={"store": SqliteStore(log), "node": "here"})
    window = await open_page(served.url, "/jobs?panel=system")
    kernels = window.page.get_by_role("dialog").locator(".kernels li")
    await expect(kernels).to_have_count(1)
    await expect(kernels.first).to_contain_text(f"Leads process {os.getpid()} on here")

    async with other_kernel(log) as other:
        await expect(kernels).to_have_count(2)
        await expect(kernels.last).to_contain_text(f"Follows process {other.pid} on other")
        await expect(kernels.last).to_contain_text("0 behind")
        await served.kernel.step_down(actor="ann")
        await expect(kernels.first).to_contain_text(f"Leads process {other.pid} on other")
        await expect(kernels.last).to_contain_text(f"Follows process {os.getpid()} on here")
        other.send_signal(signal.SIGKILL)
        await expect(kernels.first).to_contain_text(f"Leads process {os.getpid()} on here")
        await expect(kernels).to_have_count(1)


@pytest.mark.parametrize(("locale", "said"), [("en-US", "No kernel leads."), ("zh-CN", "没有主内核")])
async def test_the_card_says_that_nobody_leads_also_on_a_phone(
    open_page: Any, serve: Any, tmp_path: Path, locale: str, said: str
) -> None:
    log = tmp_path / "log.db"
    async with other_kernel(log) as other:
        served = await serve(kernel={"store": SqliteStore(log), "node": "here", "role": "follower"})
        # Without a leader some of what the panel requests is a 503.
        look: Any = {"width": 320, "locale": locale, "reduced_motion": "reduce", "allowed": ("503",)}
        window = await open_page(served.url, "/jobs?panel=system", **look)
        panel = window.page.get_by_role("dialog")
        await expect(panel.locator(".kernels li")).to_have_count(2)
        await expect(panel.get_by_role("alert")).to_have_count(0)

        other.send_signal(signal.SIGKILL)
        await expect(panel.get_by_role("alert")).to_contain_text(said)
        await expect(panel.locator(".kernels li")).to_have_count(1)

        overflow = await window.page.evaluate(
            "document.querySelector('dialog[open]').scrollWidth - document.querySelector('dialog[open]').clientWidth"
        )
        assert overflow <= 0
        assert await violations(window) == []
        kernel = {"id": "1", "node": "far", "pid": 7, "role": "follower", "lag": 1200, "lag_s": 9.0, "problem": "slow"}
        times = {"since": "2026-11-29T10:00:00Z", "seen": "2026-11-29T10:00:00Z", "position": 1, "state": "degraded"}
        leads = {"role": "leader", "problem": None, "seen": "2026-11-29T10:00:40Z", "lag_s": 0.0}
        await window.page.route(
            "**/scheduler/kernels", lambda route: route.fulfill(json=[kernel | times | leads, kernel | times])
        )
        await expect(panel.locator(".kernels .degraded")).to_contain_text("slow")
        await expect(panel.get_by_role("alert")).to_have_count(0)
