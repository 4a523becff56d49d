from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from gnomon import ConfigError, Event, Kernel, PluginError, StoreUnavailableError
from gnomon.conversion import convert
from gnomon.domain.records import Checkpoint
from gnomon.durations import Duration
from gnomon.testing import RecordingStore, VirtualClock, make_job, make_kernel
from gnomon.testing.histories import NOON, append, failed, missed, succeeded
from gnomon_sqlite import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_stats.checkpoint import CHECKPOINT, VIEW_VERSION
from gnomon_stats.verification import verify

DAY = timedelta(days=1)
Facts = Callable[..., dict[str, Any]]


def configure(**section: Any) -> StatsPlugin:
    return StatsPlugin(convert(section, StatsPlugin.Config, "plugins.stats"))


async def work() -> None:
    """Return at once."""


async def broken() -> None:
    raise ValueError("no such table")


async def counted(kernel: Kernel, plugin: StatsPlugin) -> None:
    """Wait until the plugin's thread has counted all that there is."""
    async with asyncio.timeout(60):
        while not kernel.is_idle or plugin.position < kernel.health().position:  # noqa: ASYNC110 - it is another thread
            await asyncio.sleep(0.005)


async def run(kernel: Kernel, *job_ids: str) -> None:
    for job_id in job_ids:
        await kernel.wait((await kernel.trigger(job_id)).execution.id)


async def test_runs_are_counted_and_still_known_after_a_restart(tmp_path: Path, facts: Facts, recount: Facts) -> None:
    for rounds in (1, 2):
        plugin, store = configure(save_every="1h"), SqliteStore(tmp_path / "gnomon.db")
        async with make_kernel(make_job(work), make_job(broken), plugins=[plugin], store=store) as kernel:
            await run(kernel, "work", "broken", "work")
            await counted(kernel, plugin)
            log = await kernel.events(limit=1000)
            saved = await kernel.checkpoint(CHECKPOINT)

        assert {stats.job_id: facts(stats) for stats in plugin.of_jobs()} == recount(log)
        assert plugin.of_job("work").success == 2 * rounds
        assert (saved is None) == (rounds == 1), "it is kept when the kernel is left"


async def test_an_existing_log_is_counted_from_its_start() -> None:
    plugin, store = StatsPlugin(), RecordingStore()
    await store.open()
    await append(store, *(succeeded(at=NOON - n * DAY) for n in range(700)))

    async with make_kernel(make_job(work), plugins=[plugin], store=store) as kernel:
        await run(kernel, "work")
        await counted(kernel, plugin)

    assert (plugin.of_job("sync").success, plugin.of_job("work").success) == (700, 1)


async def test_pruned_runs_stay_counted_and_the_rest_is_verified(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        await append(store, *(failed(at=NOON - n * DAY) for n in range(30, 0, -1)))
    plugin = StatsPlugin()
    async with make_kernel(plugins=[plugin], store=SqliteStore(tmp_path / "gnomon.db")) as kernel:
        await counted(kernel, plugin)

    async with SqliteStore(tmp_path / "gnomon.db") as store:
        assert await store.prune(NOON - 10 * DAY) == 20
        found = await verify(store, "UTC")
    plugin, store = StatsPlugin(), SqliteStore(tmp_path / "gnomon.db")
    async with make_kernel(plugins=[plugin], store=store) as kernel:
        await counted(kernel, plugin)

    assert (found.is_proved, found.executions, found.whole_after) == (True, 30, 60)
    assert found.whole_since == NOON - 10 * DAY
    stats = plugin.of_job("sync")
    assert stats.streak is not None
    assert (stats.failed, len(stats.by_day or ()), stats.streak.length) == (30, 30, 30)


async def test_today_is_counted_in_the_configured_zone() -> None:
    plugin, clock = configure(timezone="Asia/Shanghai"), VirtualClock(NOON)

    async with make_kernel(make_job(work, every=timedelta(hours=1)), plugins=[plugin], clock=clock) as kernel:
        await clock.advance(timedelta(hours=14))
        await counted(kernel, plugin)

    assert plugin.today().day.isoformat() == "2026-12-02"
    assert plugin.today().success == 11  # from 16:00 UTC, which is midnight, to 02:00
    assert [one.success for one in plugin.of_job("work").by_day or ()] == [3, 11]


async def test_another_zone_applies_from_then_on(tmp_path: Path) -> None:
    for zone in ("UTC", "Asia/Shanghai"):
        plugin, store = configure(timezone=zone), SqliteStore(tmp_path / "gnomon.db")
        clock = VirtualClock(NOON.replace(hour=20))  # the next day in Shanghai
        async with make_kernel(make_job(work), plugins=[plugin], store=store, clock=clock) as kernel:
            await run(kernel, "work")
            await counted(kernel, plugin)
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        found = await verify(store, "UTC")

    assert [(f"{one.day}", one.success) for one in plugin.of_job("work").by_day or ()] == [
        ("2026-12-01", 1),
        ("2026-12-02", 1),
    ]
    assert found.is_proved


async def test_statistics_can_be_read_from_any_thread() -> None:
    plugin, found = StatsPlugin(), list[int]()

    async with make_kernel(make_job(work), plugins=[plugin]) as kernel:
        await run(kernel, "work")
        await counted(kernel, plugin)
        thread = threading.Thread(target=lambda: found.append(plugin.of_job("work").total))
        thread.start()
        await asyncio.to_thread(thread.join)

    assert found == [1]
    assert plugin.of_job("nobody").total == 0


async def test_it_waits_for_a_store_that_is_unavailable() -> None:
    class Away(RecordingStore):
        reads = 0

        async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
            self.reads += 1
            if self.reads == 2:  # the first one is the kernel's own: it compares the newest events with its clock
                raise StoreUnavailableError("the server is away")
            return await super().read(after, limit)

    plugin, store = StatsPlugin(), Away()
    await store.open()
    await append(store, missed())

    with capture_logs() as said:
        async with make_kernel(plugins=[plugin], store=store, keeps_time=False) as kernel:
            await counted(kernel, plugin)

    assert plugin.of_job("sync").missed == 1
    assert "statistics are waiting for the store" in [one["event"] for one in said]


async def test_statistics_that_cannot_be_saved_are_saved_later() -> None:
    class Full(RecordingStore):
        saves = 0

        async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
            self.saves += name == CHECKPOINT
            if name == CHECKPOINT and self.saves == 1:
                raise StoreUnavailableError("the disk is full")
            await super().save_checkpoint(name, checkpoint)

    plugin, store = configure(save_every="10ms"), Full()

    with capture_logs() as said:
        async with make_kernel(make_job(work), plugins=[plugin], store=store) as kernel:
            await run(kernel, "work")
            async with asyncio.timeout(60):
                while (kept := await kernel.checkpoint(CHECKPOINT)) is None:  # noqa: ASYNC110 - the plugin's thread
                    await asyncio.sleep(0.005)

    assert "statistics could not be saved; they will be saved later" in [one["event"] for one in said]
    assert kept.position <= plugin.position


async def test_statistics_of_a_newer_version_are_left_alone_and_refused() -> None:
    store = RecordingStore()
    await store.open()
    newer = Checkpoint(0, zlib.compress(msgspec.msgpack.encode((VIEW_VERSION + 1, b"who knows"))))
    await store.save_checkpoint(CHECKPOINT, newer)

    with pytest.raises(PluginError, match=r"its version is 7, this version knows 6; upgrade Gnomon"):
        async with make_kernel(plugins=[StatsPlugin()], store=store):
            pass

    await store.open()
    assert await store.checkpoint(CHECKPOINT) == newer


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(b"no zlib", id="other bytes"),
        pytest.param(None, id="nothing"),
        pytest.param(zlib.compress(b"\xc1"), id="no msgpack"),
        pytest.param(zlib.compress(msgspec.msgpack.encode((0, b""))), id="an older version"),
        pytest.param(zlib.compress(msgspec.msgpack.encode((VIEW_VERSION, b"\x80"))), id="another position"),
    ],
)
async def test_unreadable_statistics_are_counted_again(view: bytes | None) -> None:
    plugin, store = StatsPlugin(), RecordingStore()
    await store.open()
    await append(store, succeeded(), missed("other"))
    await store.save_checkpoint(CHECKPOINT, Checkpoint(3, view))

    with capture_logs() as said:
        async with make_kernel(plugins=[plugin], store=store, keeps_time=False) as kernel:
            await counted(kernel, plugin)

    assert [(stats.job_id, stats.total) for stats in plugin.of_jobs()] == [("other", 1), ("sync", 1)]
    (told,) = [one for one in said if one["event"] == "statistics are counted again from the log"]
    assert "cannot be used" in told["problem"]
    await store.open()
    assert (await verify(store, "UTC")).kept_at == await store.head()


async def test_events_during_the_catch_up_are_counted_once() -> None:
    class Slow(RecordingStore):
        may_be_read = asyncio.Event()
        reads = 0

        async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
            self.reads += 1
            if self.reads > 1:  # the first one is the kernel's own: it compares the newest events with its clock
                await self.may_be_read.wait()
            return await super().read(after, limit)

    plugin, store = StatsPlugin(), Slow()
    await store.open()
    await append(store, succeeded(), missed("other"))

    async with make_kernel(make_job(work), plugins=[plugin], store=store, keeps_time=False) as kernel:
        await run(kernel, "work")
        before = plugin.position
        store.may_be_read.set()
        await counted(kernel, plugin)
        await run(kernel, "work")
        await counted(kernel, plugin)

    assert before == 0
    assert [(stats.job_id, stats.total) for stats in plugin.of_jobs()] == [("other", 1), ("sync", 1), ("work", 2)]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"timezone": "Asia/Shanghia"}, "Asia/Shanghai"),
        ({"save_every": "0s"}, "save_every must be 10 ms or more"),
        ({"save": "1s"}, "save"),
    ],
)
def test_invalid_settings_are_refused(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        configure(**section)


def test_the_defaults() -> None:
    assert StatsPlugin().config == StatsPlugin.Config("UTC", Duration(seconds=30))
