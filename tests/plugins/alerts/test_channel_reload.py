"""Channels, routes and the heartbeat that `gnomon reload` changes while a kernel notifies people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import ConfigError, Kernel
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.deployment.kernel_factory import build_kernel
from gnomon.deployment.reload import Reloader
from gnomon_alerts.delivery.ledger import CHECKPOINT, from_checkpoint
from receiver import Receiver, receiving
from servers import eventually

JOBS = """
[plugins.memory]
[kernel]
python_path = ["."]
[[jobs]]
id = "export"
func = "reloaded_jobs:broken"
[[jobs]]
id = "report"
func = "reloaded_jobs:broken"
[plugins.alerts]
"""
BODY = """
def broken():
    raise ValueError("no such table")
"""


class Deployed:
    """A config in a folder, and the kernel that runs it."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self._file, self._receiver = folder / "gnomon.toml", receiver
        self.kernel: Kernel
        self.plugin: Any
        self._reloader: Reloader

    def write(self, paths: dict[str, str], extra: str = "") -> None:
        """Write a config whose channels post to these paths."""
        lines = [JOBS]
        for name, path in paths.items():
            lines += ["[[plugins.alerts.channels]]", f'name = "{name}"', f'webhook = "{self._receiver.url}{path}"']
            lines += ["group_wait = 0", "interval = 0", 'longest_pause = "50ms"']
        self._file.write_text("\n".join([*lines, extra.replace("URL", self._receiver.url)]), encoding="utf-8")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        config = load_config(self._file, {})
        deployment = assemble(config)
        self.kernel, self.plugin = build_kernel(deployment), deployment.plugins["alerts"].object
        self._reloader = Reloader(self.kernel, config)
        async with self.kernel:
            yield

    async def reload(self) -> Any:
        return await self._reloader.reload("test")

    async def fail(self, job_id: str) -> None:
        await self.kernel.wait((await self.kernel.trigger(job_id)).execution.id)

    async def records(self) -> set[str]:
        checkpoint = await self.kernel.checkpoint(CHECKPOINT)
        assert checkpoint is not None
        return set(from_checkpoint(checkpoint).channels)


@pytest.fixture
async def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Deployed, Receiver]]:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "reloaded_jobs.py").write_text(BODY, encoding="utf-8")
    async with receiving() as receiver:
        yield Deployed(tmp_path, receiver), receiver


def jobs_of(receiver: Receiver, path: str) -> list[str]:
    return [item["job_id"] for body in receiver.to(path) for item in body["alerts"]]


async def test_channels_change_without_a_restart_and_undisturbed(deployed: tuple[Deployed, Receiver]) -> None:
    here, receiver = deployed
    receiver.always, receiver.answers = {"/down": 503}, {"/slow": ["hang"]}
    here.write({"slow": "/slow", "moved": "/down", "old": "/old"})
    with capture_logs() as lines:
        async with here.running():
            await here.fail("export")
            await receiver.until(lambda: receiver.to("/slow") and receiver.to("/down") and receiver.to("/old"))
            await eventually(lambda: "moved does not accept" in (here.plugin.problem or ""))

            heartbeat = '[plugins.alerts.heartbeat]\nurl = "URL/ping"'
            here.write({"slow": "/slow", "moved": "/up", "new": "/new"}, heartbeat)
            reloaded = await here.reload()
            await receiver.until(lambda: receiver.to("/up") and (receiver.to("/ping") or receiver.to("/ping/fail")))
            await here.fail("report")
            await receiver.until(lambda: receiver.to("/new") and len(receiver.to("/up")) == 2)
            assert await here.records() == {"slow", "moved", "new"}
            assert [one.name for one in await here.plugin.list_channels(None)] == ["slow", "moved", "new"]
            assert here.plugin.problem is None

    assert (reloaded.applied, reloaded.needs_restart) == (["plugins.alerts.channels", "plugins.alerts.heartbeat"], [])
    assert jobs_of(receiver, "/up") == ["export", "report"], "its record is that of the name"
    assert receiver.to("/up")[0]["key"] == receiver.to("/down")[0]["key"]
    assert jobs_of(receiver, "/new") == ["report"], "a channel that is new begins now"
    assert jobs_of(receiver, "/old") == ["export"], "one that was removed hears of nothing more"
    assert jobs_of(receiver, "/slow") == ["export"], "the message on its way was neither cut off nor repeated"
    assert {"channel": "old", "alerts_not_sent": 0} in [
        {"channel": line["channel"], "alerts_not_sent": line["alerts_not_sent"]}
        for line in lines
        if line["event"] == "a channel was removed"
    ]


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ('[[plugins.alerts.routes]]\nchannels = ["nowhere"]', "a route names the channel 'nowhere', which does not"),
        ('[[plugins.alerts.channels]]\nname = "ops"\ncommand = ["true"]', "channels need different names"),
        ('[[plugins.alerts.channels]]\nname = "bad"\nwebhook = "ops"', "webhook must be a URL"),
        ('[[plugins.alerts.channels]]\nname = "bad"\nwebhook = { env = "NOT_SET_ANYWHERE" }', "NOT_SET_ANYWHERE"),
        ('[[plugins.alerts.rules]]\nkind = "falied"', "falied"),
    ],
)
async def test_a_config_with_a_problem_changes_nothing(
    deployed: tuple[Deployed, Receiver], extra: str, problem: str
) -> None:
    here, receiver = deployed
    here.write({"ops": "/ops"})
    async with here.running():
        here.write({"ops": "/elsewhere"}, extra)
        with pytest.raises(ConfigError, match=problem):
            await here.reload()
        await here.fail("export")
        await receiver.until(lambda: receiver.to("/ops"))
    assert not receiver.to("/elsewhere")
