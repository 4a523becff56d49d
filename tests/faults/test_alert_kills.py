"""SIGKILL while alerts open and end and people are notified, with a checker that knows nothing of the plugin's folds.

Kernels and the server that receives the notifications are killed at random moments. Afterwards the alerts are those
that the runs in the log give, each channel has received each of them, and no kill has repeated more than one
message of a channel.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fault_runs import rounds, seed
from gnomon import AlertAcknowledged, Job, Kernel
from gnomon.conversion import convert
from gnomon.plugins.plugin_set import PluginSet
from gnomon.stores.reading import read_log
from gnomon.wire.alerts import Alert
from gnomon_alerts import AlertsPlugin
from gnomon_alerts.book import Book, shown
from gnomon_alerts.checkpoint import CHECKPOINT
from gnomon_alerts.delivery.ledger import CHECKPOINT as CHANNELS
from gnomon_alerts.delivery.ledger import ChannelRecord, from_checkpoint
from gnomon_sqlite import SqliteStore
from log_checker import LogEvent, check_log, read_events
from servers import START_PATIENCE, Port, eventually

RECEIVER = """
import os, sys
from aiohttp import web

port, file, share = int(sys.argv[1]), os.open(sys.argv[2], os.O_CREAT | os.O_APPEND | os.O_WRONLY), float(sys.argv[3])
refused = 0.0

async def receive(request):
    global refused
    body = await request.read()
    refused += share if request.path == "/flaky" else 0.0
    if refused >= 1.0:
        refused -= 1.0
        return web.Response(status=503)
    os.write(file, body + b"\\n")
    return web.Response()

app = web.Application()
app.router.add_post("/{path}", receive)
web.run_app(app, host="127.0.0.1", port=port, print=None)
"""
LIFE = """
import asyncio, json, sys
from datetime import timedelta
from gnomon import Job, Kernel, current
from gnomon.conversion import convert
from gnomon.plugins.plugin_set import PluginSet
from gnomon_alerts import AlertsPlugin
from gnomon_alerts.acts import acknowledgement
from gnomon_sqlite import SqliteStore

database, channels, life = sys.argv[1:]

def work():
    if current().job_id == "always" or int(current().scheduled_time.timestamp() / 0.25) % 3:
        raise ValueError("no such table")

async def main():
    plugin = AlertsPlugin(convert(json.loads(channels), AlertsPlugin.Config, "plugins.alerts"))
    plugins = PluginSet()
    plugins.add(plugin, "alerts")
    jobs = [Job(id=name, func=work, every=timedelta(milliseconds=100)) for name in ("always", "some", "others")]
    async with Kernel(store=SqliteStore(database), jobs=jobs, plugins=plugins) as kernel:
        number = 0
        while True:
            await asyncio.sleep(0.1)
            now = kernel.clock.now()
            alerts = [one for one in plugin.alerts() if (one.job_id, one.kind) == ("always", "failed")]
            note = f"{life}:{number}"
            act = acknowledgement(until=None, until_next=False, undo=False, actor="ann", reason=note, now=now)
            if alerts:
                await plugin.act(kernel, act, alerts[:1])
                print(note, flush=True)  # from here on it must never be lost
                number += 1

asyncio.run(main())
"""
NAMES = ("well", "flaky")
KINDS = ("failed", "lost")
LOST = {"zombie", "lost", "killed"}
NEVER = datetime(2100, 1, 1, tzinfo=UTC)


class Scene:
    """The files of a log and of what was received, and the processes that work on them."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.database, self.received = folder / "gnomon.db", folder / "received"
        self.received.touch()
        self.kills = 0
        self.acknowledged: list[str] = []
        self._port = Port()

    @property
    def channels(self) -> dict[str, Any]:
        timing = {"group_wait": "20ms", "interval": 0, "repeat": 0, "longest_pause": "50ms"}
        url = f"http://127.0.0.1:{self._port.number}"
        return {
            "save_every": "300ms",
            "rules": [{"kind": "missed", "enabled": False}],  # a machine that is busy starts some too late
            "channels": [{"name": name, "webhook": f"{url}/{name}", **timing} for name in NAMES],
        }

    @contextmanager
    def receiver(self, *, refuses: float) -> Iterator[None]:
        """Run the server; `refuses` is the share of the messages to "flaky" that it does not accept."""
        arguments = [str(self._port.number), str(self.received), str(refuses)]
        with subprocess.Popen([sys.executable, "-c", RECEIVER, *arguments]) as server:
            try:
                yield
            finally:
                server.kill()

    @contextmanager
    def life(self, number: int) -> Iterator[subprocess.Popen[str]]:
        """Run a kernel, and kill it at the end of the block."""
        arguments = [str(self.database), json.dumps(self.channels), str(number)]
        errors = self.folder / "errors"
        with (
            errors.open("w", encoding="utf-8") as stderr,
            subprocess.Popen(
                [sys.executable, "-c", LIFE, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True
            ) as life,
        ):
            try:
                yield life
                assert life.poll() is None, f"the kernel ended on its own: {errors.read_text(encoding='utf-8')}"
            finally:
                life.kill()
            assert life.stdout is not None
            self.acknowledged += life.stdout.read().split("\n")[:-1]
        self.kills += 1

    def wait_for_growth(self, messages: int) -> None:
        """Wait until so many messages more were accepted, by processes that may still be starting."""
        wanted, deadline = len(self.messages()) + messages, time.monotonic() + START_PATIENCE
        while len(self.messages()) < wanted:
            assert time.monotonic() < deadline, f"{len(self.messages())} messages, expected {wanted}"
            time.sleep(0.005)

    def messages(self) -> list[str]:
        return self.received.read_text(encoding="utf-8").split("\n")[:-1]

    def live_and_die(self, number: int) -> None:
        """Run the server and a kernel until some moment in the middle of their work, and kill one of them, or both."""
        with self.life(number):
            with self.receiver(refuses=0.3):
                if self.chance.random() < 0.2:  # while the kernel starts, recovers and catches up
                    time.sleep(self.chance.uniform(0.2, 1.0))
                else:
                    self.wait_for_growth(self.chance.randrange(1, 4))
            self.kills += 1
            if self.chance.random() < 0.3:
                with self.receiver(refuses=0.3):
                    self.wait_for_growth(self.chance.randrange(1, 3))
                self.kills += 1

    async def begin(self) -> None:
        """Wait for the first checkpoint: what happens from then on is news, whatever is killed."""
        with self.life(0), self.receiver(refuses=0.0):
            await asyncio.to_thread(self.wait_for_growth, 1)
            await eventually(self._is_saved)
        self.kills += 1

    async def _is_saved(self) -> bool:
        store = SqliteStore(self.database)
        await store.open(read_only=True)
        try:
            return None not in (await store.checkpoint(CHECKPOINT), await store.checkpoint(CHANNELS))
        finally:
            await store.close()

    async def finish(self) -> tuple[list[Alert], dict[str, ChannelRecord]]:
        """Record and send with a last kernel what the killed ones left; return its alerts and its channels."""
        plugins, plugin = PluginSet(), AlertsPlugin(convert(self.channels, AlertsPlugin.Config, "plugins.alerts"))
        plugins.add(plugin, "alerts")
        jobs = [Job(id=name, func=lambda: None) for name in ("always", "some", "others")]
        channels: dict[str, ChannelRecord] = {}

        async def is_told() -> bool:
            checkpoint = await kernel.checkpoint(CHANNELS)
            assert checkpoint is not None
            channels.update(from_checkpoint(checkpoint).channels)
            lasting = {alert.id: alert.acknowledgement for alert in plugin.alerts() if alert.state != "resolved"}
            return all(
                record.told.keys() == lasting.keys() and all(record.told[one] or lasting[one] for one in lasting)
                for record in channels.values()
            )

        with self.receiver(refuses=0.0), capture_logs():
            async with Kernel(store=SqliteStore(self.database), jobs=jobs, plugins=plugins) as kernel:
                await eventually(lambda: kernel.is_idle)
                await eventually(self._is_recorded)
                await eventually(is_told)  # each alert that lasts, and no other
            kept = plugin.alerts()
        self._port.release()
        return kept, channels

    def _is_recorded(self) -> bool:
        streaks, opened, resolved = facts(read_events(self.database))
        return streaks == (opened, resolved)


def facts(events: list[LogEvent]) -> tuple[tuple[Counter[Any], Counter[Any]], Counter[Any], Counter[Any]]:
    """Return the streaks of failures in a log, all and those that have ended, and what it has of alerts, by its events.

    A streak is the job, the kind and its first run; it ends with the next success of the job.
    """
    streaks, over = Counter[Any](), Counter[Any]()
    lasting: dict[tuple[str, str], Any] = {}
    opened: dict[str, Any] = {}
    openings, endings = Counter[Any](), Counter[Any]()
    for event in events:
        match event["type"]:
            case "failed":
                kind = "lost" if event["reason"] in LOST else "failed"
                key = event["job_id"], kind
                if key not in lasting:
                    lasting[key] = (*key, event["stream"])
                    streaks[lasting[key]] += 1
            case "succeeded":
                ended = [key for kind in KINDS if (key := (event["job_id"], kind)) in lasting]
                over.update(lasting.pop(key) for key in ended)
            case "alert_opened":
                opened[event["alert_id"]] = event["job_id"], event["kind"], event["execution_id"]
                openings[opened[event["alert_id"]]] += 1
            case "alert_resolved":
                endings[opened[event["alert_id"]]] += 1
    return (streaks, over), openings, endings


def told(messages: list[str], channel: str) -> tuple[dict[str, list[str]], int]:
    """Return what a channel received about each alert, in order, and how many messages said something again."""
    statuses: dict[str, list[str]] = {}
    again = 0
    for message in map(json.loads, messages):
        if message["channel"] == channel:
            items = [(item["id"], item["status"]) for item in message["alerts"]]
            again += any(is_again(statuses.get(alert_id, []), status) for alert_id, status in items)
            for alert_id, status in items:
                statuses.setdefault(alert_id, []).append(status)
    return statuses, again


def left_out(messages: list[str], channel: str) -> int:
    """Return how many alerts the messages to a channel counted without listing them: a message lists 20."""
    return sum(found["more"] for found in map(json.loads, messages) if found["channel"] == channel)


def is_told(alert: Alert, statuses: list[str]) -> bool:
    """Return whether the last that a channel heard of an alert is how it stands."""
    if alert.resolved_at is not None:
        return statuses[-1:] in (["resolved"], ["over"])
    return alert.acknowledgement is not None or statuses[-1:] == ["opened"]


def is_again(before: list[str], status: str) -> bool:
    return status in before or bool(before and status in {"opened", "over"}) or "over" in before


@pytest.mark.timeout(3600)
async def test_killed_kernels_and_receivers_lose_no_alert_and_no_notification(tmp_path: Path) -> None:
    scene = Scene(tmp_path, random.Random(seed()))
    await scene.begin()
    for number in range(1, rounds(short=10, long=100)):
        await asyncio.to_thread(scene.live_and_die, number)
    kept, channels = await scene.finish()

    events = check_log(scene.database)
    (streaks, over), opened, resolved = facts(events)
    assert opened == streaks, "each streak of failures is one alert, and nothing else is"
    assert resolved == over
    assert set(over), "some jobs have failed and recovered"

    book, notes = Book(), []
    async with SqliteStore(scene.database) as store:
        async for page in read_log(store, 0, await store.head()):
            for event in page:
                book.apply(event)
                notes += [event.reason] if isinstance(event, AlertAcknowledged) else []
    assert {alert.id: alert for alert in kept} == {id_: shown(book.alerts[id_], NEVER) for id_ in book.alerts}
    assert set(scene.acknowledged) <= set(notes), "what was acknowledged stays so"
    assert [one.acknowledgement.note for one in kept if one.acknowledgement] == notes[-1:]

    messages = scene.messages()
    for name in NAMES:
        statuses, again = told(messages, name)
        assert set(statuses) <= set(book.alerts), "an alert that never was"
        untold = [alert for alert in book.alerts.values() if not is_told(alert, statuses.get(alert.id, []))]
        assert len(untold) <= left_out(messages, name), untold
        assert again <= scene.kills, "a kill repeats one message of a channel at most"
        assert channels[name].told.keys() == {alert.id for alert in book.open()}
