"""A real Chromium against real servers; it fails tests whose pages log errors, and sums up coverage."""

from __future__ import annotations

import asyncio
import functools
import importlib
import re
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
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config
from gnomon_web.dashboard.assets import build
from servers import find_chromium

sys.path.insert(0, str(Path(__file__).parent / "demo"))

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
PATIENCE = 60_000
"""Milliseconds until an expectation fails. A passing test does not wait that long."""
expect.set_options(timeout=PATIENCE)
TEST_TIMEOUT_S = 300
"""The limit for one test, on a busy machine."""
LASTING_TOASTS = """
// Keep what the page removes after a moment: a test on a slow machine may look later than that.
{
    const [real, moments] = [window.setTimeout, [1000, 1600, 6000, 12000]];
    window.setTimeout = (act, wait, ...more) => real(act, moments.includes(wait) ? 1e6 : wait, ...more);
}"""
SLOW_HANDSHAKE = ("WebSocket is closed before the connection is established",)
"""Logged by Chromium when the page abandons a slow handshake and retries."""
SECRETS = {role: f"Zq8v-3rWk-X5tL-of-the-{role}" for role in ("viewer", "operator", "admin")}


LAST = "test_the_tests_cover_nine_tenths_of_every_module"
UNSEEN = pytest.StashKey[set[str]]()
"""Failed and skipped tests of this session: their share of the coverage is missing."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in filter(_is_ours, items):
        item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    # First, since they keep one process busy for as long as all other tests keep the other one.
    items.sort(key=lambda item: (not _is_ours(item), item.name == LAST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _is_ours(item) and item.name != LAST and "browsers" in getattr(item, "fixturenames", ()):
        unseen = item.config.stash.setdefault(UNSEEN, set())
        if report.when == "setup":
            unseen.discard(item.name)  # a second attempt
        if not report.passed:
            unseen.add(item.name)
    return report


def _is_ours(item: pytest.Item) -> bool:
    return item.path.parent == Path(__file__).parent  # this hook is called for tests of all folders


class Coverage:
    """The characters of the dashboard's modules that any page of this session has run."""

    def __init__(self) -> None:
        self.run: dict[str, bytearray] = {}

    def add(self, scripts: list[dict[str, Any]]) -> None:
        for script in scripts:
            _, found, path = script["url"].partition(f"/ui/{build().name}/")
            if not found:
                continue
            size = len(build().files[path].body.decode())
            # Ranges are nested, outer ones first: an inner one overrides the outer.
            seen = bytearray(size)
            for function in script["functions"]:
                for part in function["ranges"]:
                    start, end = part["startOffset"], min(part["endOffset"], size)
                    seen[start:end] = bytes([part["count"] > 0]) * (end - start)
            before = self.run.setdefault(path, bytearray(size))
            self.run[path] = bytearray(a | b for a, b in zip(before, seen, strict=True))

    def modules(self) -> Iterator[tuple[str, str, bytearray]]:
        """Yield the path of each module, its code, and the characters of it that were run."""
        bundle, start = build().bundle, 0
        for module in bundle.modules:
            yield module.path, module.code, self.run["app.js"][start : start + len(module.code)]
            start += len(module.code)
        for path, modules in bundle.chunks.items():
            start = 0
            run = self.run.get(path, bytearray(sum(len(module.code) for module in modules)))
            for module in modules:
                yield module.path, module.code, run[start : start + len(module.code)]
                start += len(module.code)


class Window:
    """A page of a server; its errors are collected in `errors`."""

    def __init__(self, page: Page, server: str, coverage: Coverage, devtools: CDPSession) -> None:
        self.page = page
        self.server = server
        self._coverage = coverage
        self._devtools = devtools
        self.errors: list[str] = []
        self.is_over = False
        page.on("pageerror", self._failed)
        page.on("console", self._on_console)
        page.on("crash", self._died)
        page.on("close", self._died)  # no test closes a page, so its browser has died

    def _failed(self, error: Error) -> None:
        self.errors.append(f"{error}\n{error.stack}")

    def _on_console(self, line: ConsoleMessage) -> None:
        # A kernel on a busy machine may report itself as unhealthy with status 503.
        is_health = line.location.get("url", "").endswith("/scheduler/health") and "503" in line.text
        if line.type in {"error", "warning"} and not is_health:
            self.errors.append(line.text)

    def _died(self, _: Page) -> None:
        if not self.is_over:
            self.errors.append(f"Chromium died, or this page of it: too little memory? It showed {self.page.url}")
        self.is_over = True

    async def go(self, path: str) -> None:
        """Load a URL and wait until a view is shown."""
        await self.count()
        await self.page.goto(self.server + path)
        await self._shown()

    async def reload(self) -> None:
        """Reload the page."""
        await self.count()
        await self.page.reload()
        await self._shown()

    async def back(self) -> None:
        """Go back across a page load."""
        await self.count()
        await self.page.go_back()
        await self._shown()

    async def _shown(self) -> None:
        await expect(self.page.locator("main h1[tabindex]")).to_be_attached()

    async def follow(self, path: str, query: str = "") -> None:
        """Navigate within the page, without loading it."""
        await self.inside("m.go(arg[0], Object.fromEntries(new URLSearchParams(arg[1])))", [path, query])
        await self._shown()

    async def loaded(self) -> None:
        """Wait until the view has all its responses, and its charts know their width."""
        await expect(self.page.locator("main [aria-busy]")).to_have_count(0)
        await expect(self.page.locator("main .sized:empty")).to_have_count(0)

    async def becomes(self, code: str, expected: Any = True, arg: Any = None) -> None:
        """Wait until an expression in the page, as in `inside`, has the expected value."""
        given_up = time.monotonic() + PATIENCE / 1000
        while (found := await self.inside(code, arg)) != expected:
            assert time.monotonic() < given_up, f"{code} is {found!r}, not {expected!r}"
            await asyncio.sleep(0.05)

    async def inside(self, code: str, arg: Any = None) -> Any:
        """Run code in the page, where `m` holds the exports of its modules."""
        used = set(re.findall(r"\bm\.(\w+)", code))
        files = ["app.js", *(path for path, names in _exports_of_chunks().items() if names & used)]
        addresses = [f"{self.server}/ui/{build().name}/{path}" for path in files]
        return await self.page.evaluate(
            f"""async ([addresses, arg]) => {{
                const m = Object.assign({{}}, ...await Promise.all(addresses.map((one) => import(one))));
                return {code}
            }}""",
            [addresses, arg],
        )

    async def count(self) -> None:
        """Add the coverage since the page was loaded: the browser drops it on the next load."""
        if self.is_over:
            return
        try:
            self._coverage.add((await self._devtools.send("Profiler.takePreciseCoverage"))["result"])
        except Error:
            self._died(self.page)


@functools.cache
def _exports_of_chunks() -> dict[str, set[str]]:
    return {
        path: set(re.findall(r"^export (?:async )?(?:const|let|class|function) (\w+)", text, re.MULTILINE))
        for path, text in build().bundle.lazy().items()
    }


class Browsers:
    """Chromium, restarted if it died, so that only one test fails and not all later ones."""

    def __init__(self, chromium: BrowserType, program: str) -> None:
        self._chromium = chromium
        self._program = program
        self._last: Browser | None = None

    async def alive(self) -> Browser:
        if self._last is None or not self._last.is_connected():
            self._last = await self._chromium.launch(executable_path=self._program, args=FLAGS, timeout=2 * PATIENCE)
        return self._last


class Windows:
    """Opens pages, and checks them for errors at the end."""

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
        allowed: tuple[str, ...] = (),
        **options: Any,
    ) -> Window:
        """Open a page; `allowed` are parts of the errors that it may log."""
        options = {"locale": "en-US", "timezone_id": "Asia/Shanghai", "reduced_motion": "reduce"} | options
        browser = await self._browsers.alive()
        context = await browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(PATIENCE)
        await context.add_init_script(LASTING_TOASTS)
        page = await context.new_page()
        devtools = await context.new_cdp_session(page)
        await devtools.send("Profiler.enable")
        await devtools.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})
        window = Window(page, server, self._coverage, devtools)
        self._opened.append((context, window, (*allowed, *SLOW_HANDSHAKE)))
        await window.go(path)
        return window

    async def one(self, server: str, path: str) -> Window:
        """Return the open page, or open one."""
        alive = [window for _, window, _ in self._opened if not window.is_over]
        return alive[0] if alive else await self.open(server, path)

    async def count(self) -> None:
        """Add the coverage of all open pages."""
        for _, window, _ in self._opened:
            await window.count()

    def check(self) -> None:
        """Fail the test if a page logged errors or was lost."""
        unexpected = []
        for _, window, allowed in self._opened:
            unexpected += [error for error in window.errors if not any(part in error for part in allowed)]
            window.errors = []
        assert not unexpected, "\n".join(unexpected)

    async def close(self) -> None:
        await self.count()
        for context, window, _ in self._opened:
            if not window.is_over:
                window.is_over = True
                await context.close()
        self.check()


@pytest.fixture(scope="session")
def coverage() -> Coverage:
    return Coverage()


@pytest.fixture
def unseen(request: pytest.FixtureRequest) -> list[str]:
    """Return the tests whose coverage is missing."""
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

    It depends on `serve` only to be closed before the servers.
    """
    windows = Windows(browsers, coverage)
    yield windows.open
    await windows.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def labs(browsers: Browsers, coverage: Coverage, day: str) -> AsyncIterator[Windows]:
    """Open shared pages; they depend on `day` only to be closed before it."""
    windows = Windows(browsers, coverage)
    yield windows
    await windows.close()


@pytest_asyncio.fixture(loop_scope="session")
async def lab(labs: Windows, day: str) -> AsyncIterator[Window]:
    """A page shared by all tests of single modules."""
    yield await labs.one(day, "/alerts")
    labs.check()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kernel_of_day() -> AsyncIterator[tuple[Kernel, str]]:
    """A kernel after a day of jobs, whose clock stands still, and the URL of its server."""
    async with importlib.import_module("day").served_day() as served:
        yield served


@pytest.fixture(scope="session")
def day(kernel_of_day: tuple[Kernel, str]) -> str:
    """The URL of the server after a day of jobs."""
    return kernel_of_day[1]


class Served:
    """A kernel in real time with its server."""

    def __init__(self, kernel: Kernel, url: str) -> None:
        self.kernel = kernel
        self.url = url


@pytest_asyncio.fixture(loop_scope="session")
async def serve() -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """Start a kernel with its server: `await serve(job, guarded=True)`; `guarded` adds a token for each role.

    `kernel` are settings of the kernel, the others are those of the plugin `web`.
    """
    async with AsyncExitStack() as stack:

        async def start(
            *jobs: Any, guarded: bool = False, plugins: Any = (), kernel: Any = None, **config: Any
        ) -> Served:
            if guarded:
                tokens = [Token(name=role, role=role, token=Secret(text)) for role, text in SECRETS.items()]  # type: ignore[arg-type]
                config["tokens"] = tokens
            web = WebPlugin(Config(port=0, **config))
            settings = {"drain": timedelta(0), **(kernel or {})}
            started = make_kernel(*jobs, plugins=[web, *plugins], clock=SystemClock(), **settings)
            await stack.enter_async_context(started)
            return Served(started, web.url)

        yield start


@pytest.fixture
def secrets() -> dict[str, str]:
    return SECRETS
