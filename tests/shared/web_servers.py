"""Servers in processes of their own on one SQLite log, each with its own port, as behind a load balancer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

TOKENS = {role: f"Zq8v-3rWk-X5tL-of-the-{role}" for role in ("viewer", "operator", "admin")}

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from gnomon import Kernel
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config

def config(tokens):
    return Config(port=0, tokens=[Token(role, role, token) for role, token in tokens.items()], **keys)

async def serve():
    web = WebPlugin(config(tokens))
    async with Kernel(store=SqliteStore(Path(path)), role=role, plugins={"web": web}, jobs=["time:time"]) as kernel:
        print(web.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):  # each is the tokens of a changed config
            await kernel.reload_plugins({"web": config(json.loads(line))})
            print("reloaded", flush=True)

path, role, tokens, keys = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:])
asyncio.run(serve())
"""


class Server:
    """One process with its server."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, client: aiohttp.ClientSession) -> None:
        self.process = process
        self.url = url
        self._client = client

    async def ask(self, method: str, path: str, *, as_: str | None = None, **options: Any) -> tuple[int, Any]:
        """Return the status and the body of an answer."""
        headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {TOKENS[as_]}"} if as_ else {})
        async with self._client.request(method, self.url + path, headers=headers, **options) as answer:
            return answer.status, await answer.json()

    async def log_in(self, role: str) -> str:
        """Return the login cookie that a browser gets, as it sends it to any server of the host."""
        async with self._client.post(self.url + "/login", json={"token": TOKENS[role]}) as answer:
            assert answer.status == 200, await answer.text()
            return answer.headers["Set-Cookie"].partition(";")[0]

    async def act(self, method: str, path: str, cookie: str, **options: Any) -> tuple[int, Any]:
        """Send a request as the page of a browser with a login does."""
        return await self.ask(method, path, headers={"Cookie": cookie, "Origin": self.url}, **options)

    async def reads(self, cookie: str) -> int:
        """Return the status of a list of jobs that a login requests."""
        return (await self.act("GET", "/scheduler/jobs", cookie))[0]

    def socket(self, query: str, cookie: str | None = None) -> Any:
        """Open a WebSocket with the events of the log."""
        headers = {"Cookie": cookie, "Origin": self.url} if cookie is not None else {}
        return self._client.ws_connect(f"{self.url.replace('http', 'ws')}/ws/events?after=0{query}", headers=headers)

    async def reload(self, tokens: dict[str, str]) -> None:
        """Reload the config of the process, with other tokens."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(tokens).encode() + b"\n")
        assert await self.process.stdout.readline() == b"reloaded\n"

    async def kill(self) -> None:
        """End the process as SIGKILL does."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Stop it in order."""
        await self.process.communicate(b"")  # closes its input
        assert self.process.returncode == 0
