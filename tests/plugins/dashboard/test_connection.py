"""Lost connections, floods of events, and pages that are busy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import expect

from servers import eventually

LOST = ("WebSocket connection", "ERR_CONNECTION", "Failed to load resource")
CONFIG = """
[kernel]
python_path = ["."]

[plugins.sqlite]
path = "gnomon.db"

[plugins.web]
port = {port}
"""
BEATS = """
[[jobs]]
id = "beats"
func = "beating:beats"
every = "300ms"

[[jobs]]
id = "works"
func = "beating:works"
"""
BODIES = """
import asyncio

async def beats():
    return 1

async def works(ctx):
    for number in ctx.track(range(100_000)):
        await asyncio.sleep(0.05)

async def floods(ctx):
    for number in ctx.track(range(1_000_000)):
        ctx.progress(message=f"row {number}")
        await asyncio.sleep(0.01)

works.__annotations__["ctx"] = floods.__annotations__["ctx"] = "Context"
"""


def unused_port() -> int:
    """Return a port that stays free while its server is down: no outgoing connection gets one below 32768."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise OSError("a hundred ports from 20000 on are all taken")


class Deployment:
    """A `gnomon run` process that tests kill and restart on the same log."""

    def __init__(self, folder: Path) -> None:
        self.port = unused_port()
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}"
        self.configure()
        (folder / "beating.py").write_text(BODIES)
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, jobs: str = BEATS) -> None:
        (self.folder / "gnomon.toml").write_text(CONFIG.format(port=self.port) + jobs)

    async def start(self) -> None:
        with (self.folder / "run.log").open("ab") as log:
            command = [sys.executable, "-m", "gnomon.cli", "run", "gnomon.toml"]
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=dict(os.environ))
        async with aiohttp.ClientSession() as client, asyncio.timeout(120):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    yield made
    made.kill()


async def test_a_page_survives_a_killed_server_and_then_equals_its_views(
    open_page: Any, deployment: Deployment
) -> None:
    await deployment.start()
    window = await open_page(deployment.url, "/", allowed=LOST)
    page = window.page
    async with aiohttp.ClientSession() as client:
        await client.post(f"{deployment.url}/scheduler/trigger", json={"job_id": "works"})
    works = page.locator(".run", has_text="works").locator(".elapsed")
    await expect(works).to_be_visible()
    await window.becomes("m.finishedIds.peek().length > 4")
    before = await window.inside("m.about.peek().position")

    deployment.kill()
    await expect(page.locator(".lost-banner")).to_be_visible()
    times = [works, page.locator(".coming-up .num").first]
    frozen = [await one.inner_text() for one in times]
    await expect(page.get_by_role("button", name="Cancel: works")).to_be_disabled()
    await page.wait_for_timeout(1500)  # long enough for a running clock to show
    assert [await one.inner_text() for one in times] == frozen

    await deployment.start()
    back = time.monotonic()
    await expect(page.locator(".link.live")).to_be_visible()
    print(f"live again {time.monotonic() - back:.2f} s after the new server answered; two are asked for")
    await expect(page.locator(".lost-banner")).to_have_count(0)
    await window.becomes(f"m.about.peek().position > {before}")

    told = await window.inside(COMPARE)
    assert told["snapshots"] == 1, "the connection was resumed, not reloaded"
    assert told["compared"] > 4
    assert told["different"] == []


# Compare the newest finished runs of the server with those of the page.
COMPARE = """await (async () => {
    const { items: known } = await fetch('/scheduler/logs?limit=60&status=success,failed,missed,cancelled').then((answer) => answer.json());
    const hasCome = (run) => m.runs.get(run._id)?.peek().version >= run.version;
    const begin = performance.now();
    // The next batch brings whatever the list had a moment earlier.
    while (!known.every(hasCome) && performance.now() - begin < 60_000) await new Promise((done) => setTimeout(done, 50));
    const fields = ['status', 'version', 'timestamp', 'updated_at', 'execution_time', 'reason', 'progress', 'processed_items'];
    const different = known.flatMap((run) => {
        const mine = m.runs.get(run._id)?.peek() ?? {};
        return fields.filter((name) => JSON.stringify(mine[name]) !== JSON.stringify(run[name])).map((name) => [run._id, name, mine[name], run[name]]);
    });
    return { snapshots: m.generation.peek(), compared: known.length, different };
})()"""


@pytest.fixture
async def flooded(deployment: Deployment) -> str:
    """A server with fifty runs that report a hundred times a second each: 5,000 a second."""
    jobs = "".join(f'[[jobs]]\nid = "flood{n:02}"\nfunc = "beating:floods"\n' for n in range(50))
    deployment.configure(jobs)
    await deployment.start()
    async with aiohttp.ClientSession() as client:
        for n in range(50):
            await client.post(f"{deployment.url}/scheduler/trigger", json={"job_id": f"flood{n:02}"})
    return deployment.url


MAX_CPU_S = 0.5
"""CPU seconds that a page may use per batch, ten times the measured value. The frame rate is only printed
(`pytest tests/plugins/dashboard/test_connection.py -s`): an idle machine draws 50 to 59 frames a second, and the goal
is 30, but a test on a busy machine cannot require any."""
# Count frames until enough batches have arrived.
FRAMES = """await (async () => {
    let frames = 0;
    const [begin, before] = [performance.now(), { ...m.applied }];
    while (m.applied.deltas - before.deltas < 20) {
        await new Promise((done) => requestAnimationFrame(done));
        frames += 1;
    }
    const [deltas, events] = ['deltas', 'events'].map((name) => m.applied[name] - before[name]);
    const seconds = (performance.now() - begin) / 1000;
    return { frames: Math.round(frames / seconds), deltas, events, seconds };
})()"""


@contextlib.asynccontextmanager
async def cost_of(window: Any, batches: dict[str, Any]) -> AsyncIterator[None]:
    """Fail if the page uses too much CPU per batch; waiting is not counted."""
    devtools = await window.page.context.new_cdp_session(window.page)
    await devtools.send("Performance.enable")

    async def seconds() -> float:
        metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
        return next(float(one["value"]) for one in metrics if one["name"] == "ThreadTime")

    before = await seconds()
    yield
    share = (await seconds() - before) / batches["deltas"]
    print(f"{batches['frames']} frames a second, {1000 * share:.0f} ms of CPU for a batch")
    assert share < MAX_CPU_S


async def test_the_page_stays_responsive_at_five_thousand_reports_a_second(open_page: Any, flooded: str) -> None:
    window = await open_page(flooded, "/", reduced_motion="no-preference", allowed=LOST)
    await expect(window.page.locator(".run").first).to_be_visible()
    told: dict[str, Any] = {}

    async with cost_of(window, told):
        told |= await window.inside(FRAMES)

    # Up to three unacknowledged batches may have waited for the page.
    assert told["seconds"] >= (told["deltas"] - 4) * 0.09, "at most ten batches a second"
    assert told["events"] <= told["deltas"] * 200, "for fifty runs: about one report for each in each batch"


async def test_a_burst_of_five_hundred_runs_is_drawn_at_once(open_page: Any, day: str) -> None:
    window = await open_page(day, "/runs")
    told: dict[str, Any] = {}

    async with cost_of(window, told):
        told |= await window.inside(f"""await (async () => {{
            m.connection().disconnect();  // no other frames may arrive
            const event = (n, version, type, more) => ({{ type, stream: `run${{n}}`, version, position: 1e6 + version * 500 + n, at: new Date().toISOString(), node: 'a', job_id: 'news', ...more }});
            const send = (make) => m.applyDelta({{ seq: 2e6, now: '', events: Array.from({{ length: 500 }}, (_, n) => make(n)) }});
            send((n) => event(n, 1, 'scheduled', {{ scheduled_time: new Date().toISOString() }}));
            send((n) => event(n, 2, 'started', {{ runner: 'async' }}));
            let version = 2;
            const timer = setInterval(() => {{ version += 1; send((n) => event(n, version, 'progress', {{ processed_items: version, total_items: 100 }})) }}, 100);
            const told = {FRAMES};
            clearInterval(timer);
            return {{ ...told, last: m.runs.get('run499').peek().processed_items, version }};
        }})()""")  # fmt: skip

    assert told["last"] == told["version"] > 20


async def test_a_page_that_was_blocked_catches_up_at_once(open_page: Any, flooded: str) -> None:
    window = await open_page(flooded, "/", allowed=LOST)
    await expect(window.page.locator(".run").first).to_be_visible()

    told = await window.inside("""await (async () => {
        const [deltas, position] = [m.applied.deltas, m.about.peek().position];
        const begin = performance.now();
        while (performance.now() - begin < 8000);
        const free = performance.now();
        while (m.about.peek().position - position < 500) await new Promise((done) => setTimeout(done, 50));
        return { deltas: m.applied.deltas - deltas, seconds: (performance.now() - free) / 1000 };
    })()""")  # fmt: skip

    # At most three batches were in flight when it stopped acknowledging; one brings the rest, then the usual rate returns.
    assert told["deltas"] <= 12 + told["seconds"] / 0.09


async def test_a_new_version_of_the_server_is_offered(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs")
    await window.inside(
        "(m.connection().disconnect(), m.serverVersion.value = '9.9')"
    )  # a heartbeat would carry the real version
    await expect(window.page.get_by_role("button", name="Version 9.9 is available: reload")).to_be_visible()


async def test_navigation_does_not_leak_nodes_or_listeners(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    devtools = await window.page.context.new_cdp_session(window.page)

    async def walk(times: int) -> None:
        for _ in range(times):
            for path in ("/jobs", "/runs", "/jobs/news", "/alerts", "/"):
                await window.follow(path)
                await window.loaded()
        await expect(window.page.locator(".counter.failed .figure")).not_to_have_text("–")

    async def count() -> dict[str, int]:
        await devtools.send("HeapProfiler.collectGarbage")
        counted: dict[str, int] = await devtools.send("Memory.getDOMCounters")
        return counted

    async def no_growth() -> bool:
        last = await count()
        return last["jsEventListeners"] <= first["jsEventListeners"] * 1.3 and last["nodes"] <= first["nodes"] * 1.5

    await walk(2)
    first = await count()
    await walk(6)

    await eventually(no_growth)  # a pending response keeps its view alive
