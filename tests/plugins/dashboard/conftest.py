"""A real Chromium that looks at real servers; it fails tests in whose pages something went wrong, and sums coverage."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    BrowserType,
    CDPSession,
    ConsoleMessage,
    Error,
    Page,
    async_playwright,
    expect,
)

from gnomon import Kernel
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.testing.kernels import make_kernel
from gnomon_web import WebPlugin
from gnomon_web.config import Config, Token
from gnomon_web.dashboard.files import build
from servers import find_chromium

sys.path.insert(0, str(Path(__file__).parent / "demo"))

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
PATIENCE = 60_000
"""Milliseconds until a page that does not come to show something fails its test. Waiting costs nothing when it passes."""
expect.set_options(timeout=PATIENCE)
LONGEST = 300
"""Seconds of a test as a whole, however busy the machine is."""
LASTING = """
// What the page takes back after a moment stays: a test on a slow machine may come later than that.
{
    const [real, moments] = [window.setTimeout, [1000, 1600, 6000, 12000]];
    window.setTimeout = (act, wait, ...more) => real(act, moments.includes(wait) ? 1e6 : wait, ...more);
}"""
SLOWED = ("WebSocket is closed before the connection is established",)
"""What Chromium says when the page gives up a handshake that takes long, and then tries again."""
SECRETS = {role: f"the-secret-of-the-{role}" for role in ("viewer", "operator", "admin")}


LAST = "test_the_tests_reach_nine_tenths_of_every_module"
UNSEEN = pytest.StashKey[set[str]]()
"""Tests of this session that failed or were skipped: what they would have run in their pages has not been run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in filter(_is_ours, items):
        item.add_marker(pytest.mark.timeout(LONGEST))
        item.add_marker(pytest.mark.xdist_group("dashboard"))  # one process adds up what all pages have run
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    items.sort(key=lambda item: _is_ours(item) and item.name == LAST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _is_ours(item) and "browsers" in getattr(item, "fixturenames", ()):
        unseen = item.config.stash.setdefault(UNSEEN, set())
        if report.when == "setup":
            unseen.discard(item.name)  # it is tried once more
        if not report.passed:
            unseen.add(item.name)
    return report


def _is_ours(item: pytest.Item) -> bool:
    return item.path.parent == Path(__file__).parent  # this hook is called for the tests of all folders


class Coverage:
    """Which characters of the dashboard's modules have been run, in any page of this test session."""

    def __init__(self) -> None:
        self.run: dict[str, bytearray] = {}

    def add(self, scripts: list[dict[str, Any]]) -> None:
        for script in scripts:
            _, found, path = script["url"].partition(f"/ui/{build().name}/")
            if not found:
                continue
            size = len(build().files[path].body.decode())
            # Ranges are nested, outer ones first: each overrules the one that it lies in.
            seen = bytearray(size)
            for function in script["functions"]:
                for part in function["ranges"]:
                    start, end = part["startOffset"], min(part["endOffset"], size)
                    seen[start:end] = bytes([part["count"] > 0]) * (end - start)
            before = self.run.setdefault(path, bytearray(size))
            self.run[path] = bytearray(a | b for a, b in zip(before, seen, strict=True))

    def modules(self) -> Iterator[tuple[str, str, bytearray]]:
        """Give the path of each module that was written, its code, and which characters of it have been run."""
        joined, start = build().joined, 0
        for module in joined.modules:
            yield module.path, module.code, self.run["app.js"][start : start + len(module.code)]
            start += len(module.code)
        for path, code in joined.later.items():
            yield path, code, self.run.get(path, bytearray(len(code)))


class Window:
    """A page, opened at an address of a server; what goes wrong in it is kept in `errors`."""

    def __init__(self, page: Page, server: str, coverage: Coverage, devtools: CDPSession) -> None:
        self.page = page
        self.server = server
        self._coverage = coverage
        self._devtools = devtools
        self.errors: list[str] = []
        self.is_over = False
        page.on("pageerror", self._failed)
        page.on("console", self._said)
        page.on("crash", self._died)
        page.on("close", self._died)  # nothing here closes one, so that its browser has died

    def _failed(self, error: Error) -> None:
        self.errors.append(f"{error}\n{error.stack}")

    def _said(self, line: ConsoleMessage) -> None:
        # A kernel on a machine that is busy says of itself that it is unwell, by the status 503.
        is_health = line.location.get("url", "").endswith("/scheduler/health") and "503" in line.text
        if line.type in {"error", "warning"} and not is_health:
            self.errors.append(line.text)

    def _died(self, _: Page) -> None:
        if not self.is_over:
            self.errors.append(f"Chromium died, or this page of it: too little memory? It showed {self.page.url}")
        self.is_over = True

    async def go(self, path: str) -> None:
        """Load an address, and wait until it shows something."""
        await self.count()
        await self.page.goto(self.server + path)
        await self._shown()

    async def reload(self) -> None:
        """Load the same address anew."""
        await self.count()
        await self.page.reload()
        await self._shown()

    async def back(self) -> None:
        """Go back over an address that was loaded."""
        await self.count()
        await self.page.go_back()
        await self._shown()

    async def _shown(self) -> None:
        await expect(self.page.locator("main h1[tabindex]")).to_be_attached()

    async def follow(self, path: str, query: str = "") -> None:
        """Go to an address inside of the page, without loading it anew."""
        await self.inside("m.go(arg[0], Object.fromEntries(new URLSearchParams(arg[1])))", [path, query])
        await self._shown()

    async def loaded(self) -> None:
        """Wait until the view has all that it has asked the server for, and its charts know their width."""
        await expect(self.page.locator("main [aria-busy]")).to_have_count(0)
        await expect(self.page.locator("main .drawn:empty")).to_have_count(0)

    async def becomes(self, code: str, expected: Any = True, arg: Any = None) -> None:
        """Wait until an expression in the page, as in `inside`, comes to what is expected."""
        given_up = time.monotonic() + PATIENCE / 1000
        while (found := await self.inside(code, arg)) != expected:
            assert time.monotonic() < given_up, f"{code} is {found!r}, not {expected!r}"
            await asyncio.sleep(0.05)

    async def inside(self, code: str, arg: Any = None) -> Any:
        """Run code in the page, where `m` holds what its modules export."""
        address = f"{self.server}/ui/{build().name}/app.js"
        return await self.page.evaluate(
            f"async ([address, arg]) => {{ const m = await import(address); return {code} }}", [address, arg]
        )

    async def count(self) -> None:
        """Add what has been run in the page since it was loaded: the browser forgets it when it loads another."""
        if self.is_over:
            return
        try:
            self._coverage.add((await self._devtools.send("Profiler.takePreciseCoverage"))["result"])
        except Error:
            self._died(self.page)


class Browsers:
    """Chromium, and another one where it has died: its test fails, and not all that come after it."""

    def __init__(self, chromium: BrowserType, program: str) -> None:
        self._chromium = chromium
        self._program = program
        self._last: Browser | None = None

    async def alive(self) -> Browser:
        if self._last is None or not self._last.is_connected():
            self._last = await self._chromium.launch(executable_path=self._program, args=FLAGS, timeout=2 * PATIENCE)
        return self._last


class Windows:
    """Opens pages, and at the end looks whether anything went wrong in one."""

    def __init__(self, browsers: Browsers, coverage: Coverage) -> None:
        self._browsers = browsers
        self._coverage = coverage
        self._opened: list[tuple[BrowserContext, Window, tuple[str, ...]]] = []

    async def open(
        self,
        server: str,
        path: str = "/",
        *,
        width: int = 1280,
        height: int = 860,
        may_say: tuple[str, ...] = (),
        **options: Any,
    ) -> Window:
        """Open a page; `may_say` are parts of the errors that it may have."""
        options = {"locale": "en-US", "timezone_id": "Asia/Shanghai", "reduced_motion": "reduce"} | options
        browser = await self._browsers.alive()
        context = await browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(PATIENCE)
        await context.add_init_script(LASTING)
        page = await context.new_page()
        devtools = await context.new_cdp_session(page)
        await devtools.send("Profiler.enable")
        await devtools.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})
        window = Window(page, server, self._coverage, devtools)
        self._opened.append((context, window, (*may_say, *SLOWED)))
        await window.go(path)
        return window

    async def one(self, server: str, path: str) -> Window:
        """Give the page that is open, or open one."""
        alive = [window for _, window, _ in self._opened if not window.is_over]
        return alive[0] if alive else await self.open(server, path)

    async def count(self) -> None:
        """Add what has been run in the pages since they were opened."""
        for _, window, _ in self._opened:
            await window.count()

    def look(self) -> None:
        """Fail the test in whose pages something went wrong, or that lost one."""
        unexpected = []
        for _, window, may_say in self._opened:
            unexpected += [error for error in window.errors if not any(part in error for part in may_say)]
            window.errors = []
        assert not unexpected, "\n".join(unexpected)

    async def close(self) -> None:
        await self.count()
        for context, window, _ in self._opened:
            if not window.is_over:
                window.is_over = True
                await context.close()
        self.look()


@pytest.fixture(scope="session")
def coverage() -> Coverage:
    return Coverage()


@pytest.fixture
def unseen(request: pytest.FixtureRequest) -> list[str]:
    """List the tests that did not do in their pages all that they do."""
    names: set[str] = request.config.stash.get(UNSEEN, set())
    return sorted(names)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browsers() -> AsyncIterator[Browsers]:
    program = find_chromium()
    async with async_playwright() as playwright:
        browsers = Browsers(playwright.chromium, program)
        yield browsers
        await (await browsers.alive()).close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(
    browsers: Browsers, coverage: Coverage, serve: Any
) -> AsyncIterator[Callable[..., Awaitable[Window]]]:
    """Open a page: `await open_page(url, "/jobs", width=320, color_scheme="dark", locale="zh-CN")`.

    It needs `serve` only to be closed before the servers are.
    """
    windows = Windows(browsers, coverage)
    yield windows.open
    await windows.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def labs(browsers: Browsers, coverage: Coverage, day: str) -> AsyncIterator[Windows]:
    """Open pages that stay; they need `day` only to be closed before it is."""
    windows = Windows(browsers, coverage)
    yield windows
    await windows.close()


@pytest_asyncio.fixture(loop_scope="session")
async def lab(labs: Windows, day: str) -> AsyncIterator[Window]:
    """Give a page that all tests of single modules share."""
    yield await labs.one(day, "/alerts")
    labs.look()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def day() -> AsyncIterator[str]:
    """Give the address of a server with a day of jobs behind it, whose time stands still."""
    async with importlib.import_module("day").served_day() as (_, url):
        yield url


class Served:
    """A kernel in real time with its server."""

    def __init__(self, kernel: Kernel, url: str) -> None:
        self.kernel = kernel
        self.url = url


@pytest_asyncio.fixture(loop_scope="session")
async def serve() -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """Start a kernel with its server: `await serve(job, guarded=True)`; guarded, there is a token for each role."""
    async with AsyncExitStack() as stack:

        async def start(*jobs: Any, guarded: bool = False, plugins: Any = (), **config: Any) -> Served:
            if guarded:
                tokens = [Token(name=role, role=role, token=Secret(text)) for role, text in SECRETS.items()]  # type: ignore[arg-type]
                config["tokens"] = tokens
            web = WebPlugin(Config(port=0, **config))
            kernel = make_kernel(*jobs, plugins=[web, *plugins], clock=SystemClock(), drain=timedelta(0))
            await stack.enter_async_context(kernel)
            return Served(kernel, web.url)

        yield start


@pytest.fixture
def secrets() -> dict[str, str]:
    return SECRETS
