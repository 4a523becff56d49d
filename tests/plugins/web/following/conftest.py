from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from web_servers import PROGRAM, TOKENS, Server

Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a process with a server: `await start("leader")`, with keys of its config."""
    started: list[asyncio.subprocess.Process] = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def begin(role: str, path: Path = tmp_path / "log.db", **keys: Any) -> Server:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PROGRAM, str(path), role, json.dumps(TOKENS), json.dumps(keys)),
                stdin=pipe,
                stdout=pipe,
                stderr=asyncio.subprocess.DEVNULL,
            )
            started.append(process)
            assert process.stdout is not None
            return Server(process, (await process.stdout.readline()).decode().strip(), client)

        try:
            yield begin
        finally:
            for process in started:
                if process.returncode is None:
                    process.kill()
                    await process.communicate()
