"""A kernel that leads a SQLite log in another process, and a store whose kernel leads only while a test allows it.

Usage: python leading_process.py LOG [WHAT], where WHAT is JSON: `jobs`, a list of definitions, `plugins`, a mapping of
names to `{"class": "module:Class", "config": {...}}`, and `revision`. The process prints "leads", reads commands from
its standard input, answers each with "done", and stops in order when the input ends. `reload HOURS` changes the
interval of `kept`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from gnomon import Duration, Job, Kernel
from gnomon.conversion import convert
from gnomon.following.follower import Follower
from gnomon_sqlite.store import SqliteStore

PATIENCE = 60.0
JOBS: list[dict[str, Any]] = [
    {"id": "tick", "func": "time:time", "every": "200ms"},
    {"id": "rest", "func": "time:sleep", "args": [3600]},
    {"id": "kept", "func": "time:time", "every": "1h"},
]


class LeadingProcess:
    """A kernel that leads, in another process."""

    def __init__(self, log: Path, **what: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(log), json.dumps(what)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "leads"

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self._answer() == "done"

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def close(self) -> None:
        """Kill it, and close its pipes."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


class WaitingStore(SqliteStore):
    """A log that its process leads again only while `may_lead` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_lead = asyncio.Event()
        self.may_lead.set()

    async def wait_until_free(self) -> None:
        await self.may_lead.wait()
        await super().wait_until_free()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(0.01)


async def depose(kernel: Kernel, store: WaitingStore) -> None:
    """End the term of a kernel; it follows when this returns."""
    store.may_lead.clear()
    await kernel._leader._journal.lose("a test ended the term")
    await until(lambda: isinstance(kernel.part, Follower))


async def main(log: str, what: str = "{}") -> None:
    wanted = json.loads(what)
    jobs = [Job(**one) for one in wanted.get("jobs", JOBS)]
    plugins = {}
    for name, one in wanted.get("plugins", {}).items():
        module, _, attribute = one["class"].partition(":")
        plugin = getattr(importlib.import_module(module), attribute)
        plugins[name] = plugin(convert(one["config"], plugin.Config, name))
    settings = {"node": "leader", "drain": timedelta(0), "revision": wanted.get("revision")}
    kernel = Kernel(store=SqliteStore(log), jobs=jobs, plugins=plugins, **settings)
    async with kernel:
        print("leads", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.startswith("reload"):
                kept = Job(id="kept", func="time:time", every=Duration(hours=int(line.split()[1])))
                await kernel.apply_jobs([*(one for one in jobs if one.id != "kept"), kept])
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
