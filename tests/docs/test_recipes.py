"""The recipes for several workers, run as their pages show them: real servers, whose leading worker is then killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon import Kernel
from gnomon.domain.kernel_member import KernelMember
from gnomon_sqlite import SqliteStore
from servers import Port

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
FILE = re.compile(r"^```\w+\n# (?P<name>[\w./-]+\.(?:py|toml))\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE = 100.0
WORKERS = 4
TOKEN = "q7Rk-Zt2M-x9Lw-of-the-operator"


def recipe(page: str, folder: Path, program: str) -> list[str]:
    """Write the files of a page to a folder, and return its command that starts a server."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    for found in FILE.finditer(text):
        (folder / found["name"]).write_text(found["text"], encoding="utf-8")
    (line,) = re.findall(rf"^{program} .*--workers 4.*$", text, re.MULTILINE)
    return [sys.executable, "-m", *shlex.split(line)]


@contextmanager
def serving(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, and print what it said where the block fails."""
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"OPS_TOKEN": TOKEN},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield server
    except BaseException:
        print(log.read_text(errors="replace"))
        raise
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(PATIENCE)


@pytest.fixture
def port() -> Iterator[int]:
    reserved = Port()
    yield reserved.number
    reserved.release()


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[Kernel]:
    """Follow the log of the recipe, which a worker has begun."""
    await eventually((folder / "service.db").exists)
    async with Kernel(role="follower", store=SqliteStore(folder / "service.db")) as kernel:
        yield kernel


async def workers_of(kernel: Kernel) -> list[KernelMember]:
    """Wait until all workers have kernels of which one leads, and return them, the leader first."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = [member for member in await kernel.kernels() if member.pid != os.getpid()]
            found = [member for member in found if Path(f"/proc/{member.pid}").exists()]
            if len(found) == WORKERS and sorted(one.role for one in found)[-1:] == ["leader"]:
                return sorted(found, key=lambda member: member.role != "leader")
            await asyncio.sleep(0.05)


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes make it true
            await asyncio.sleep(0.05)


async def order_runs(port: int, kernel: Kernel, count: int) -> None:
    """Order runs over connections of their own, which any worker may accept, and wait for all of them."""
    runs: list[str] = []
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as client:
        while len(runs) < count:
            try:
                async with client.post("/refresh/hk") as response:
                    assert response.status in {200, 202}, await response.text()
                    runs.append(json.loads(await response.text())["run"])
            except (aiohttp.ClientError, OSError):  # that worker was killed, or the server does not listen yet
                await asyncio.sleep(0.05)
    for run in runs:
        assert (await kernel.wait(run)).return_value == "hk is fresh"


RECIPES = {
    "fastapi on uvicorn": ("embed-fastapi.md", "uvicorn", "--port {port}"),
    "fastapi on gunicorn": ("embed-fastapi.md", "gunicorn", "--bind 127.0.0.1:{port} --no-control-socket"),
    "flask on gunicorn": ("embed-flask.md", "gunicorn", "--bind 127.0.0.1:{port} --no-control-socket"),
    "flask, preloaded": ("embed-flask.md", "gunicorn", "--bind 127.0.0.1:{port} --no-control-socket --preload"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the workers are found in /proc")
@pytest.mark.parametrize("name", RECIPES)
async def test_any_worker_answers_and_one_leads(name: str, tmp_path: Path, port: int) -> None:
    page, program, options = RECIPES[name]
    command = recipe(page, tmp_path, program) + options.format(port=port).split()
    with serving(command, tmp_path) as server:
        async with watching(tmp_path) as kernel:
            leader, *_ = await workers_of(kernel)
            await order_runs(port, kernel, 12)

            os.kill(leader.pid, signal.SIGKILL)
            await order_runs(port, kernel, 12)
            assert leader.pid not in {member.pid for member in await workers_of(kernel)}
        server.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait, PATIENCE)
