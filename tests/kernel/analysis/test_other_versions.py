"""Fires are judged by the versions of zone data, cronsim and APScheduler with which they were computed."""

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Job
from gnomon.analysis.audit import AuditReport, audit
from gnomon.engine import fire_sampler
from gnomon.scheduling.cron import CronTrigger
from gnomon.stores import schedule_versions
from gnomon.stores.schedule_versions import present_versions, read_schedule_versions
from gnomon.testing import RecordingStore, VirtualClock, make_kernel

HOUR = timedelta(hours=1)


async def nothing() -> None:
    pass


class World:
    """A log on which kernels of several versions run: the older one fires half an hour later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.store = VirtualClock(), RecordingStore()
        self._monkeypatch = monkeypatch

    async def run(self, hours: int, *, is_old: bool) -> None:
        with self._monkeypatch.context() as patch:
            if is_old:
                there = present_versions() | {"zone data": "1999z"}
                patch.setattr(schedule_versions, "present_versions", lambda: there)
                patch.setattr(fire_sampler, "present_versions", lambda: there)
                patch.setattr(CronTrigger, "next_after", _half_an_hour_later(CronTrigger.next_after))
                patch.setattr(CronTrigger, "fire_after", _half_an_hour_later(CronTrigger.fire_after))
            job = Job(id="a", func=nothing, cron="0 */2 * * *")
            async with make_kernel(job, clock=self.clock, store=self.store):
                await self.clock.advance(hours * HOUR)

    async def audit(self) -> AuditReport:
        await self.store.open(read_only=True)
        return await audit(self.store, self.clock.now() - 100 * HOUR, self.clock.now())


def _half_an_hour_later(method: Any) -> Any:
    def moved(self: CronTrigger, after: Any, anchor: Any) -> Any:
        later = HOUR / 2
        fire = method(self, after - later if after is not None else None, anchor - later)
        return fire + later

    return moved


async def test_findings_of_fires_that_another_version_computed_are_unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.run(10, is_old=True)
    await world.run(10, is_old=False)

    report = await world.audit()

    assert report.is_proved
    reasons = {one.reason for one in report.jobs[0].unproved}
    assert reasons == {
        f"its fires were computed with zone data 1999z in place of {present_versions()['zone data']}",
    }


async def test_a_finding_under_the_present_versions_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.run(10, is_old=False)
    monkeypatch.setattr(CronTrigger, "next_after", _half_an_hour_later(CronTrigger.next_after))
    monkeypatch.setattr(CronTrigger, "fire_after", _half_an_hour_later(CronTrigger.fire_after))

    assert not (await world.audit()).is_proved


async def test_each_start_with_other_versions_is_recorded_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    with capture_logs() as logs:
        for is_old in (True, True, False):
            await world.run(1, is_old=is_old)

    await world.store.open(read_only=True)
    known = await read_schedule_versions(world.store)
    assert [one.versions["zone data"] for one in known] == ["1999z", present_versions()["zone data"]]
    assert set(known[-1].versions) == {"zone data", "cronsim", "apscheduler"}
    changed = [line for line in logs if line["event"] == "the library versions that determine fire times have changed"]
    assert [line["log_level"] for line in changed] == ["warning"]
