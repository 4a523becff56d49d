"""Takes samples of the fires of all jobs, so that a later start, or `plan`, can show which of them an upgrade moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

from gnomon.engine.asked_trigger import AskedTrigger
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.errors import StoreError
from gnomon.jobs.registered import RegisteredJob
from gnomon.logs import get_logger
from gnomon.ports import Clock, Store
from gnomon.stores.fire_samples import (
    FireSamples,
    Sample,
    moved_fires,
    read_samples,
    sample_key,
    save_samples,
    take_sample,
)
from gnomon.stores.schedule_versions import present_versions

log = get_logger("gnomon.engine.fire_sampler")

FIRST_TURN_S, TURN_S = 0.1, 0.01
"""How long a start may take samples, and then every few seconds: the sample of a cron expression takes about 2 ms."""
MOST_SAMPLES = 2_000
"""They are written together, 2 kB for each; jobs mostly share their schedules."""
REFRESHED_AFTER = timedelta(days=90)
"""A start replaces older samples, since they look a year ahead."""
MOST_WARNINGS = 10
"""Jobs whose moved fires are logged one by one."""


class FireSampler:
    """Samples each schedule once for each set of versions."""

    def __init__(self, store: Store, journal: Journal, jobs: JobTable, clock: Clock, asked: AskedTrigger) -> None:
        self._store = store
        self._asked = asked
        self._journal = journal
        self._jobs = jobs
        self._clock = clock
        self._samples = FireSamples(present_versions())
        self._earlier: dict[str, Sample] = {}
        self._seen: set[str] = set()
        self._rest: Iterator[RegisteredJob] = iter(())
        self._changes = -1
        self._moved = 0

    async def start(self) -> None:
        """Continue with the samples of an earlier kernel; where other versions computed them, compare and replace."""
        try:
            kept = await read_samples(self._store)
        except StoreError as exc:  # no job needs them
            log.warning("the fires that an earlier kernel computed cannot be read", problem=str(exc))
            kept = None
        if kept is not None and kept.versions == self._samples.versions:
            now = self._clock.now()
            fresh = {key: one for key, one in kept.samples.items() if timedelta() <= now - one.since < REFRESHED_AFTER}
            self._samples.samples = fresh
        elif kept is not None:
            log.warning(
                "the library versions that determine fire times have changed",
                before=kept.versions,
                now=self._samples.versions,
            )
            self._earlier = kept.samples
        await self.advance(FIRST_TURN_S)

    async def advance(self, limit_s: float = TURN_S) -> None:
        """Add missing samples for some time, and save them."""
        if self._changes != self._jobs.changes:
            self._changes, self._rest = self._jobs.changes, iter(list(self._jobs))
        end, taken = time.perf_counter() + limit_s, 0
        while time.perf_counter() < end and (registered := next(self._rest, None)) is not None:
            taken += self._look_at(registered)
        if not taken:
            return
        try:
            await save_samples(self._store, self._samples, self._journal.head)
        except StoreError as exc:
            log.debug("the samples of fires were not saved", problem=str(exc))

    def _look_at(self, registered: RegisteredJob) -> bool:
        """Sample the schedule of a job, unless it is known or there is no room."""
        state, trigger = self._journal.jobs.get(registered.job.id), registered.trigger
        key = sample_key(registered.job.id, registered.definition, trigger)
        if key is None or trigger is None or state is None or key in self._seen:
            return False
        self._seen.add(key)
        samples = self._samples.samples
        if key in samples or len(samples) >= MOST_SAMPLES:
            return False
        self._asked.job_id = registered.job.id
        try:
            samples[key] = take_sample(trigger, state, self._clock.now())
            moved = next(moved_fires(trigger, self._earlier[key]), None) if key in self._earlier else None
        except BaseException:  # noqa: BLE001 - triggers are foreign code; the timetable reports one that fails
            return False
        finally:
            self._asked.job_id = None
        if moved is not None:
            self._warn(registered.job.id, *moved)
        return True

    def _warn(self, job_id: str, old: object, new: object) -> None:
        self._moved += 1
        if self._moved <= MOST_WARNINGS:
            log.warning("an upgrade has moved fires", job=job_id, such_as=str(old), now=str(new))
