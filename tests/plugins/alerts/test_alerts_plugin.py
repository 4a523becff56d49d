"""The plugin in a kernel: alerts are events of the log, and survive restarts; acts come from any process."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from gnomon import AlertOpened, AlertResolved, Kernel
from gnomon.conversion import convert
from gnomon.domain.records import ActionQuery
from gnomon.testing import RecordingStore, VirtualClock, make_job, make_kernel
from gnomon.testing.histories import NOON, append, failed, job_added
from gnomon.wire.alerts import Alert
from gnomon_alerts import AlertsPlugin
from gnomon_alerts.acts import acknowledgement, resolution, snooze
from gnomon_sqlite import SqliteStore

HOUR = timedelta(hours=1)


def configure(**section: Any) -> AlertsPlugin:
    return AlertsPlugin(convert(section, AlertsPlugin.Config, "plugins.alerts"))


async def broken(fails: bool = True) -> None:
    if fails:
        raise ValueError("no such table")


async def slow() -> None:
    await asyncio.Event().wait()


async def run(kernel: Kernel, job_id: str, **kwargs: Any) -> str:
    triggered = await kernel.trigger(job_id, kwargs=kwargs)
    await kernel.wait(triggered.execution.id)
    return triggered.execution.id


async def settled(kernel: Kernel, plugin: AlertsPlugin, condition: Any) -> None:
    """Wait until the plugin's thread has done what a condition asks for."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is another thread
            await asyncio.sleep(0.005)


def states(plugin: AlertsPlugin) -> list[str]:
    return [alert.state for alert in plugin.alerts()]


async def test_alerts_are_events_and_survive_a_restart(tmp_path: Path) -> None:
    plugin, path = configure(), tmp_path / "gnomon.db"
    async with make_kernel(make_job(broken), plugins=[plugin], store=SqliteStore(path)) as kernel:
        failure = await run(kernel, "broken")
        await settled(kernel, plugin, lambda: states(plugin) == ["firing"])
        (before,) = plugin.alerts()
        notes = {one.name: one.note for one in kernel.health().plugins}
    again = configure()
    async with make_kernel(make_job(broken), plugins=[again], store=SqliteStore(path)) as kernel:
        await settled(kernel, again, again.alerts)
        (after,) = again.alerts()
        await run(kernel, "broken", fails=False)
        await settled(kernel, again, lambda: states(again) == ["resolved"])
        log = await kernel.events(limit=1000)

    assert (before.first_execution, before.message) == (failure, "failed: ValueError: no such table")
    assert after == before
    assert list(notes.values()) == ["1 firing, 0 acknowledged, 0 snoozed"]
    assert [type(event) for event in log if isinstance(event, AlertOpened | AlertResolved)] == [
        AlertOpened,
        AlertResolved,
    ]


async def test_acts_are_events_with_their_actors_in_the_history_of_operators() -> None:
    plugin = configure()
    async with make_kernel(make_job(broken), plugins=[plugin], store=RecordingStore()) as kernel:
        await run(kernel, "broken")
        await settled(kernel, plugin, lambda: states(plugin) == ["firing"])
        (alert,) = plugin.alerts()
        now, seen = kernel.clock.now(), []
        for act in (
            acknowledgement(until=None, until_next=False, undo=False, actor="ann", reason="looking", now=now),
            snooze(until=None, length=None, undo=False, actor="bob", reason=None, now=now),
            resolution(actor="ann", reason="fixed by hand"),
        ):
            await plugin.act(kernel, act, [alert])
            seen += states(plugin)
        page = await kernel.actions(ActionQuery(actor="ann"))

    assert seen == ["acknowledged", "snoozed", "resolved"]
    assert [(action.action, action.job_id) for action in page.items] == [
        ("resolve", "broken"),
        ("acknowledge", "broken"),
    ]
    assert page.items[0].detail == f"alert {alert.id[:8]}: fixed by hand"


async def test_an_installation_on_an_old_log_opens_only_what_lasts_and_not_as_news() -> None:
    store, plugin = RecordingStore(), configure()
    await store.open()
    await append(store, job_added("broken", NOON - HOUR), *(failed("broken", NOON + n * HOUR) for n in range(3)))
    job = make_job(broken, every=timedelta(days=9))
    async with make_kernel(job, plugins=[plugin], store=store, clock=VirtualClock(NOON + 9 * HOUR)) as kernel:
        await settled(kernel, plugin, lambda: states(plugin) == ["firing"])
        (alert,) = plugin.alerts()

    assert (alert.count, alert.backdated, alert.since) == (3, True, NOON + timedelta(seconds=2))


async def test_a_run_that_does_not_end_as_usual_is_an_alert_by_the_clock_alone() -> None:
    clock = VirtualClock(NOON)
    rule = {"kind": "no_success", "limit": "1h"}
    plugin = configure(rules=[rule])
    async with make_kernel(make_job(slow), plugins=[plugin], store=RecordingStore(), clock=clock) as kernel:
        await kernel.trigger("slow")
        await clock.advance(30 * 60)
        calm = plugin.alerts()
        await clock.until(lambda: states(plugin) == ["firing"], step=60)
        (alert,) = plugin.alerts()

    assert not calm
    assert (alert.kind, alert.since) == ("no_success", NOON + HOUR)


async def test_code_that_goes_on_after_the_end_of_its_run_is_an_alert_until_it_ends() -> None:
    clock, plugin, gate = VirtualClock(NOON), configure(), threading.Event()

    def stubborn() -> None:
        gate.wait()

    def by_kind() -> dict[str, Alert]:
        return {alert.kind: alert for alert in plugin.alerts()}

    job = make_job(stubborn, timeout=timedelta(minutes=5))
    async with make_kernel(job, plugins=[plugin], store=RecordingStore(), clock=clock) as kernel:
        run_id = (await kernel.trigger("stubborn")).execution.id
        try:
            await clock.until(lambda: kernel.health().lingering == {run_id: "stubborn"}, step=60)
            await clock.until(lambda: "lingering" in by_kind(), step=5)
        finally:
            gate.set()
        found = by_kind()
        await settled(kernel, plugin, lambda: kernel.health().lingering == {})
        await clock.until(lambda: by_kind()["lingering"].state == "resolved", step=5)
        ended = by_kind()["lingering"]

    alert = found["lingering"]
    assert (alert.job_id, alert.first_execution, alert.severity) == ("stubborn", run_id, "warning")
    assert alert.message == "has ended, but its code goes on for 1m and keeps its slot"
    assert alert.since >= found["failed"].since + timedelta(minutes=1)
    assert ended.resolution == "ended"


async def test_a_process_that_follows_knows_the_alerts_and_passes_acts_on(tmp_path: Path) -> None:
    path, here, there = tmp_path / "gnomon.db", configure(), configure()
    job = make_job(broken)
    async with (
        Kernel(store=SqliteStore(path), jobs=[job], plugins=[here], role="leader") as leader,
        Kernel(store=SqliteStore(path), jobs=[job], plugins=[there], role="follower") as follower,
    ):
        await leader.wait((await leader.trigger("broken")).execution.id)
        await settled(follower, there, lambda: states(there) == ["firing"])
        now = leader.clock.now()
        act = acknowledgement(until=None, until_next=False, undo=False, actor="ann", reason=None, now=now)
        await there.act(follower, act, there.alerts())
        seen = states(there)
        await settled(leader, here, lambda: states(here) == ["acknowledged"])
        log = await leader.events(limit=1000)

    assert seen == ["acknowledged"]
    assert there.alerts() == here.alerts()
    assert sum(isinstance(event, AlertOpened) for event in log) == 1, "the follower records none"


async def test_other_rules_count_from_a_reload_on() -> None:
    plugin = configure()
    async with make_kernel(make_job(broken), plugins={"alerts": plugin}, store=RecordingStore()) as kernel:
        await run(kernel, "broken")
        await settled(kernel, plugin, lambda: states(plugin) == ["firing"])
        applied = await kernel.reload_plugins({"alerts": configure(rules=[{"kind": "failed", "after": 2}]).config})
        await settled(kernel, plugin, lambda: states(plugin) == ["resolved"])
        await run(kernel, "broken")
        await settled(kernel, plugin, lambda: sorted(states(plugin)) == ["firing", "resolved"])

    assert applied == {"alerts": frozenset(AlertsPlugin.Config.__struct_fields__)}
