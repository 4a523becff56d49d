"""The page for two machines, executed: a folder stands for a machine, and both kernels use one MongoDB."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnomon import Kernel
from gnomon.domain.events import KernelLed
from gnomon.domain.kernel_member import KernelMember
from gnomon_mongo import MongoStore
from servers import MongoServer, find_mongo

PAGE = Path(__file__).parents[2] / "docs/how-to/two-machines.md"
FILE = re.compile(r"^```\w+\n# (?P<name>\w+\.(?:py|toml))\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ *\$ gnomon (?P<arguments>.+)$", re.MULTILINE)
PATIENCE = 100.0
OLD, NEW = "0 1 * * *", "30 2 * * *"


class Machine:
    """A folder with a version of the deployment, and its kernel."""

    def __init__(self, folder: Path, uri: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._environment = os.environ | {"MONGODB_URI": uri}
        self.kernel: subprocess.Popen[bytes] | None = None

    def install(self, *versions: re.Match[str]) -> None:
        for file in versions:
            (self._folder / file["name"]).write_text(file["text"], encoding="utf-8")

    def start(self) -> int:
        """Run `gnomon run`, and return the id of its process."""
        with (self._folder / "kernel.log").open("ab") as output:
            self.kernel = subprocess.Popen(
                [sys.executable, "-m", "gnomon.cli", "run"],
                cwd=self._folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self.kernel.pid

    def end(self, number: signal.Signals) -> None:
        assert self.kernel is not None
        self.kernel.send_signal(number)
        self.kernel.wait(PATIENCE)

    async def says(self, arguments: str, code: int = 0) -> str:
        """Run a command of the page, which exits with the code, and return what it printed."""
        command = [sys.executable, "-m", "gnomon.cli", *shlex.split(arguments)]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done.stdout

    def close(self) -> None:
        if self.kernel is not None and self.kernel.poll() is None:
            self.end(signal.SIGKILL)
        if self.kernel is not None:
            print((self._folder / "kernel.log").read_text(encoding="utf-8"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    (tmp_path / "server").mkdir()
    server = MongoServer(find_mongo(), tmp_path / "server")
    server.start()
    yield server
    server.clean_up()


@pytest.fixture
def machines(server: MongoServer, tmp_path: Path) -> Iterator[list[Machine]]:
    found = [Machine(tmp_path / name, server.uri) for name in "ab"]
    yield found
    for machine in found:
        machine.close()


async def until_leads(kernel: Kernel, pid: int, *followers: int) -> None:
    """Wait until the process leads, and the other ones follow."""

    def role_of(members: list[KernelMember]) -> dict[int, str]:
        return {member.pid: member.role for member in members}

    async with asyncio.timeout(PATIENCE):
        while True:
            roles = role_of(await kernel.kernels())
            if roles.get(pid) == "leader" and all(roles.get(one) == "follower" for one in followers):
                return
            await asyncio.sleep(0.05)


async def started_late(kernel: Kernel, old: Machine, status: str) -> int:
    """Start the old version after the new one has led: it leads with the definitions of the log, and says so."""
    old.end(signal.SIGKILL)
    pid = old.start()
    await until_leads(kernel, pid)
    assert await crons(kernel) == (NEW, 30)
    assert "revision 1, and the log has revision 2" in await old.says(status, code=1)
    return pid


async def crons(kernel: Kernel) -> tuple[str | None, int | None]:
    """Return the cron expression of the job, and the minute of its next fire."""
    view = await kernel.job("nightly")
    return view.job.cron, view.next_fire.minute if view.next_fire is not None else None


async def test_the_page_for_two_machines_is_true(
    machines: list[Machine], server: MongoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.kernel.NO_LOG_LIMIT_S", PATIENCE)  # the viewer may start first
    text = PAGE.read_text(encoding="utf-8")
    code, old, new = FILE.finditer(text)
    commands = [found["arguments"] for found in COMMAND.finditer(text)]
    run, status, trigger, runs, hand_over, check, hand_over_new, jobs, history = commands
    assert run == "run"
    a, b = machines
    for machine in machines:
        machine.install(code, old)
    first = a.start()
    viewer = Kernel(role="follower", store=MongoStore(server.uri, "reports", spool=tmp_path / "viewer.db"))
    async with viewer as kernel:
        await until_leads(kernel, first)
        second = b.start()
        await until_leads(kernel, first, second)

        assert f"process {first} " in await b.says(status)
        assert "the report of hk" in await b.says(trigger)
        assert await a.says(runs) == await b.says(runs)
        assert await crons(kernel) == (OLD, 0)
        await a.says(hand_over)
        await until_leads(kernel, second, first)

        # The new version, on the machine that follows.
        a.end(signal.SIGTERM)
        a.install(new)
        await a.says(check)
        first = a.start()
        await until_leads(kernel, second, first)
        assert await crons(kernel) == (OLD, 0)
        await b.says(hand_over_new)
        await until_leads(kernel, first, second)
        assert await crons(kernel) == (NEW, 30)
        assert "02:30" in await a.says(jobs)
        assert "changed" in await b.says(jobs)

        # The old version leads once more, with the definitions of the new one.
        a.end(signal.SIGKILL)
        await until_leads(kernel, second)
        assert await crons(kernel) == (NEW, 30)
        second = await started_late(kernel, b, status)
        first = a.start()
        await until_leads(kernel, second, first)
        b.end(signal.SIGTERM)
        b.install(new)
        await until_leads(kernel, first)
        second = b.start()
        await until_leads(kernel, first, second)
        assert await crons(kernel) == (NEW, 30)
        assert "02:30" in await b.says(jobs)
        assert "changed" not in await b.says(jobs)
        await b.says(history)

        log = await kernel.events(limit=100_000)
        deployments = [event.deployment for event in log if isinstance(event, KernelLed)]
        assert deployments == sorted(deployments)
        assert len(set(deployments)) == 2
