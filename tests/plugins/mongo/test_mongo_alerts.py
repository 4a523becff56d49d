"""Alerts in a log on MongoDB: they are events, survive a restart, and retention deletes the old ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from gnomon import AlertEvent, Kernel
from gnomon.testing import make_job, make_kernel
from gnomon.testing.histories import NOON, alert_history, append, job_added
from gnomon_alerts import AlertsPlugin
from gnomon_mongo import MongoStore


async def broken(fails: bool = True) -> None:
    if fails:
        raise ValueError("no such table")


async def opened(plugin: AlertsPlugin, state: str) -> None:
    async with asyncio.timeout(60):
        while [alert.state for alert in plugin.alerts()] != [state]:  # noqa: ASYNC110 - it is another thread
            await asyncio.sleep(0.01)


async def failing(kernel: Kernel, **kwargs: Any) -> None:
    await kernel.wait((await kernel.trigger("broken", kwargs=kwargs)).execution.id)


async def test_alerts_survive_a_restart(make_store: Callable[..., MongoStore]) -> None:
    plugin = AlertsPlugin()
    async with make_kernel(make_job(broken), plugins=[plugin], store=make_store()) as kernel:
        await failing(kernel)
        await opened(plugin, "firing")
        (before,) = plugin.alerts()
    plugin = AlertsPlugin()
    async with make_kernel(make_job(broken), plugins=[plugin], store=make_store()) as kernel:
        await opened(plugin, "firing")
        (after,) = plugin.alerts()
        await failing(kernel, fails=False)
        await opened(plugin, "resolved")

    assert after == before


async def test_retention_deletes_the_events_of_old_alerts(store: MongoStore) -> None:
    await append(
        store, job_added("sync"), alert_history("sync"), alert_history("sync", NOON + timedelta(days=9), "c" * 24)
    )
    await store.prune(NOON + timedelta(days=5))

    left = [event for event in await store.read() if isinstance(event, AlertEvent)]
    assert {event.at.date() for event in left} == {(NOON + timedelta(days=9)).date()}
