"""A real Chromium that looks at real servers; it fails tests in whose pages something went wrong, and sums coverage."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Error,
    Page,
    async_playwright,
    expect,
)

from gnomon import Kernel
from gnomon.clock import SystemClock
from gnomon.config import Secret
from gnomon.testing.kernels import make_kernel
from gnomon_web import WebPlugin
from gnomon_web.config import Config, Token
from gnomon_web.dashboard.files import build

sys.path.insert(0, str(Path(__file__).parent / "demo"))

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
PATIENCE = 20_000
"""Milliseconds until a page that does not come to show something fails its test."""
expect.set_options(timeout=PATIENCE)
SECRETS = {role: f"the-secret-of-the-{role}" for role in ("viewer", "operator", "admin")}


LAST = "test_the_tests_reach_nine_tenths_of_every_module"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_ours(item) and isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    items.sort(key=lambda item: _is_ours(item) and item.name == LAST)


def _is_ours(item: pytest.Item) -> bool:
    return item.path.parent == Path(__file__).parent  # this hook is called for the tests of all folders


def missing(reason: str) -> Any:
    """Skip visibly; fail where GNOMON_REQUIRE says that the browser tests must be run."""
    if "chromium" in os.environ.get("GNOMON_REQUIRE", "").split(","):
        pytest.fail(f"GNOMON_REQUIRE wants Chromium tests, but {reason}")
    pytest.skip(reason)


def find_chromium() -> str:
    """Find the browser: the one of $GNOMON_TEST_CHROMIUM, else one on the PATH."""
    if named := os.environ.get("GNOMON_TEST_CHROMIUM"):
        return named
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or missing("there is no Chromium: apt-get install chromium, or set GNOMON_TEST_CHROMIUM")


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
        page.on("pageerror", self._failed)
        page.on("console", self._said)

    def _failed(self, error: Error) -> None:
        self.errors.append(f"{error}\n{error.stack}")

    def _said(self, line: ConsoleMessage) -> None:
        if line.type in {"error", "warning"}:
            self.errors.append(line.text)

    async def go(self, path: str) -> None:
        """Load an address, and wait until it shows something."""
        await self.count()
        await self.page.goto(self.server + path)
        await self.page.wait_for_selector("main h1[tabindex]", state="attached")

    async def follow(self, path: str, query: str = "") -> None:
        """Go to an address inside of the page, without loading it anew."""
        await self.inside("m.go(arg[0], Object.fromEntries(new URLSearchParams(arg[1])))", [path, query])
        await expect(self.page.locator("main h1[tabindex]")).to_be_attached()  # a handle would keep the element alive

    async def inside(self, code: str, arg: Any = None) -> Any:
        """Run code in the page, where `m` holds what its modules export."""
        address = f"{self.server}/ui/{build().name}/app.js"
        return await self.page.evaluate(
            f"async ([address, arg]) => {{ const m = await import(address); return {code} }}", [address, arg]
        )

    async def count(self) -> None:
        """Add what has been run in the page since it was loaded: the browser forgets it when it loads another."""
        self._coverage.add((await self._devtools.send("Profiler.takePreciseCoverage"))["result"])

    async def text(self, selector: str) -> str:
        return await self.page.inner_text(selector)


class Windows:
    """Opens pages, and at the end looks whether anything went wrong in one."""

    def __init__(self, browser: Browser, coverage: Coverage) -> None:
        self._browser = browser
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
        context = await self._browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        devtools = await context.new_cdp_session(page)
        await devtools.send("Profiler.enable")
        await devtools.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})
        window = Window(page, server, self._coverage, devtools)
        self._opened.append((context, window, may_say))
        await window.go(path)
        return window

    async def count(self) -> None:
        """Add what has been run in the pages since they were opened."""
        for _, window, _ in self._opened:
            await window.count()

    async def close(self) -> None:
        await self.count()
        unexpected = []
        for context, window, may_say in self._opened:
            await context.close()
            unexpected += [error for error in window.errors if not any(part in error for part in may_say)]
        assert not unexpected, "\n".join(unexpected)


@pytest.fixture(scope="session")
def coverage() -> Coverage:
    return Coverage()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(
    browser: Browser, coverage: Coverage, serve: Any
) -> AsyncIterator[Callable[..., Awaitable[Window]]]:
    """Open a page: `await open_page(url, "/jobs", width=320, color_scheme="dark", locale="zh-CN")`.

    It needs `serve` only to be closed before the servers are.
    """
    windows = Windows(browser, coverage)
    yield windows.open
    await windows.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def labs(browser: Browser, coverage: Coverage, day: str) -> AsyncIterator[Windows]:
    """Open pages that stay; they need `day` only to be closed before it is."""
    windows = Windows(browser, coverage)
    yield windows
    await windows.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lab(labs: Windows, day: str) -> Window:
    """Give a page that all tests of single modules share."""
    return await labs.open(day, "/alerts")


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
