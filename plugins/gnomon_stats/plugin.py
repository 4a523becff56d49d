"""What the config file enables: the fold beside the running kernel, kept in the log's store, asked by who shows it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from gnomon import Event, GnomonError, Kernel, StoreUnavailableError, TriggerError, hookimpl
from gnomon.durations import Duration
from gnomon.scheduling.timezones import parse_timezone
from gnomon.stores.reading import BLOCK
from gnomon_stats.fold import Statistics, fold, move_to_zone
from gnomon_stats.kept import CHECKPOINT, UnreadableViewError, keep, unkeep
from gnomon_stats.shape import DayStats, JobStats, day_stats, job_stats

log = structlog.stdlib.get_logger("gnomon.stats")

STORE_PAUSE = 1.0
"""Seconds between two tries to read a log that is away."""


class StatsPlugin:
    """Counts how the executions of every job end, for ever, also of those that retention has forgotten.

    `of_job`, `of_jobs` and `today` may be called from any thread. They tell the log up to `position`: at the first
    start, and after a long one without the plugin, it reads what it has missed while the kernel runs already.
    """

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """`timezone` is that in which days begin at midnight; `save_every` limits what is read again after a crash."""

        timezone: str = "UTC"
        save_every: Duration = Duration(seconds=30)

        def __post_init__(self) -> None:
            """Refuse a zone that there is not, and saving without a pause."""
            try:
                parse_timezone(self.timezone)
            except TriggerError as exc:
                raise ValueError(str(exc)) from exc
            if self.save_every < timedelta(milliseconds=10):
                raise ValueError(f"save_every must be 10 ms or more, got {self.save_every}")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._statistics = Statistics(self.config.timezone)
        self._lock = threading.Lock()
        self._saved = 0
        self._behind: asyncio.Event
        self._kernel: Kernel

    # --- for those who show statistics ---

    @property
    def position(self) -> int:
        """The position of the log up to which everything is counted."""
        return self._statistics.position

    def of_job(self, job_id: str) -> JobStats:
        """Return the statistics of a job; of one that has no execution, and of one that nobody knows, all zeros."""
        with self._lock:
            return job_stats(self._statistics, job_id)

    def of_jobs(self) -> list[JobStats]:
        """Return the statistics of all jobs that have an execution, by id."""
        with self._lock:
            return [job_stats(self._statistics, job_id) for job_id in sorted(self._statistics.jobs)]

    def today(self) -> DayStats:
        """Sum up what has ended today, of all jobs."""
        with self._lock:
            return day_stats(self._statistics, self._kernel.clock.now())

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        """Offer statistics where HTTP is served, in the place of what the store alone can count."""
        path = "/scheduler/jobs/{job_id}/execution-stats"
        register("GET", path, self.answer, role="viewer", tag="statistics", errors=(404,))
        register("GET", "/scheduler/stats/today", self.answer_today, role="viewer", tag="statistics")

    async def answer(self, _request: Any, job_id: str) -> JobStats:
        """Tell how a job has done: counts, success rate, durations, streaks, by day and by hour."""
        stats = self.of_job(job_id)
        if stats.total == 0:
            await self._kernel.job(job_id)  # else an id that nobody knows would have statistics
        return stats

    async def answer_today(self, _request: Any) -> DayStats:
        """Tell what has ended today, of all jobs: on the day that it is in the zone of the statistics."""
        return self.today()

    # --- beside the kernel ---

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
        """Read what is kept, count on from there, and keep it now and then and at the end."""
        self._kernel, self._behind = kernel, asyncio.Event()
        self._statistics = await self._load(kernel)
        self._saved = self._statistics.position
        move_to_zone(self._statistics, self.config.timezone)
        async with asyncio.TaskGroup() as tasks:
            # Not before the start: a long log takes longer than a start may.
            work = [tasks.create_task(self._catch_up(kernel)), tasks.create_task(self._save_often(kernel))]
            yield
            for task in work:
                task.cancel()
        await self._save(kernel)

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        """Count what follows on; what does not is read from the log, with what is between."""
        with self._lock:
            if events[0].position <= self._statistics.position + 1:
                fold(self._statistics, events)
                return
        self._behind.set()

    async def _load(self, kernel: Kernel) -> Statistics:
        checkpoint = await kernel.checkpoint(CHECKPOINT)
        if checkpoint is not None:
            try:
                return unkeep(checkpoint, kernel.health().position)
            except UnreadableViewError as exc:
                lost = "what retention has forgotten"
                log.error("statistics are counted anew from the log", problem=str(exc), lost=lost)
        return Statistics(self.config.timezone)

    async def _catch_up(self, kernel: Kernel) -> None:
        while True:
            self._behind.clear()
            try:
                while events := await kernel.events(self._statistics.position, BLOCK):
                    with self._lock:
                        fold(self._statistics, events)
            except StoreUnavailableError as exc:
                log.warning("statistics wait for the store", problem=str(exc))
                await asyncio.sleep(STORE_PAUSE)
            else:
                await self._behind.wait()

    async def _save_often(self, kernel: Kernel) -> None:
        took = 0.0
        while True:  # in real time, as this thread is real; with thousands of jobs more seldom
            await asyncio.sleep(max(self.config.save_every.total_seconds(), took * 50))
            begin = time.monotonic()
            await self._save(kernel)
            took = time.monotonic() - begin

    async def _save(self, kernel: Kernel) -> None:
        if self._statistics.position == self._saved:
            return
        with self._lock:
            checkpoint = keep(self._statistics)
        try:
            await kernel.save_checkpoint(CHECKPOINT, checkpoint)
        except GnomonError as exc:
            log.warning("statistics could not be kept; they will be counted again", problem=str(exc))
        else:
            self._saved = checkpoint.position
