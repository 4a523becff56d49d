"""The plugin: it counts beside the running kernel, and saves what it has counted in the log's store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from gnomon import Event, GnomonError, Kernel, StoreUnavailableError, TriggerError, UnknownJobError, hookimpl
from gnomon.api import JobView
from gnomon.durations import Duration
from gnomon.logs import get_logger
from gnomon.scheduling.timezones import parse_timezone
from gnomon.stores.reading import BLOCK
from gnomon.threads import in_thread
from gnomon.wire.caller import Caller
from gnomon.wire.comparison import Comparison, JobComparison
from gnomon.wire.forecast import Forecast
from gnomon.wire.lanes import Lanes
from gnomon.wire.statistics import Day, JobStatistics, LabelNames, LabelStatistics
from gnomon_stats.checkpoint import CHECKPOINT, UnreadableViewError, from_checkpoint, to_checkpoint
from gnomon_stats.fold import Statistics, fold, move_to_zone
from gnomon_stats.forecast import Circumstances, Closure, Extent, forecast, own_numbers
from gnomon_stats.forecast_calls import ForecastQuery, ForecastsQuery
from gnomon_stats.label_fold import MOST_VALUES
from gnomon_stats.lane_calls import LaneQuery, LanesQuery
from gnomon_stats.lanes import lanes
from gnomon_stats.period_comparison import CompareQuery, choose_periods, compare_periods
from gnomon_stats.report import job_statistics, label_names, label_statistics, outcomes_today

log = get_logger("gnomon.stats")

MOST_CHANGES = 10
"""Changes of a definition that a comparison lists for each job."""
RETRY_S = 1.0
"""Time between two attempts to read a log that is unavailable."""


class LabelQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The parameters of the statistics by label; `value` selects one value."""

    value: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_VALUES)] = 100
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0


class StatsPlugin:
    """Counts how the executions of every job end, without a time limit, including those that retention has deleted.

    `of_job`, `of_jobs`, `of_label`, `labels` and `today` may be called from any thread. They cover the log up to
    `position`: at the first start, and after a time without the plugin, it catches up while the kernel is already
    running. It counts in each process on the log; the one that leads saves.
    """

    role = "everywhere"

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """Days begin at midnight in `timezone`; `save_every` limits what is read again after a crash."""

        timezone: str = "UTC"
        save_every: Duration = Duration(seconds=30)

        def __post_init__(self) -> None:
            """Refuse an unknown time zone, and saving without a pause."""
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
        self._closures: list[Closure] = []
        self._behind: asyncio.Event
        self._kernel: Kernel

    # --- reading the statistics ---

    @property
    def position(self) -> int:
        """The log position up to which everything is counted."""
        return self._statistics.counted

    def of_job(self, job_id: str) -> JobStatistics:
        """Return the statistics of a job; all zeros for a job without executions or an unknown one."""
        with self._lock:
            return job_statistics(self._statistics, job_id)

    def of_jobs(self) -> list[JobStatistics]:
        """Return the statistics of all jobs that have an execution, by id."""
        with self._lock:
            return [job_statistics(self._statistics, job_id) for job_id in sorted(self._statistics.jobs)]

    def of_label(
        self, label: str, value: str | None = None, *, limit: int | None = None, offset: int = 0
    ) -> LabelStatistics:
        """Return the statistics of all runs by the value of a label; with `value`, of that value alone.

        A label that no run has gives an empty list.
        """
        with self._lock:
            return label_statistics(self._statistics, label, value, limit=limit, offset=offset)

    def labels(self) -> LabelNames:
        """Return the names of labels by which runs are counted."""
        with self._lock:
            return label_names(self._statistics)

    def lanes(self, query: LaneQuery, among: Collection[str] | None = None) -> Lanes:
        """Return the timeline of a range, of all jobs or of some, with the lanes of those that matter most."""
        with self._lock:
            buckets = query.range(self._kernel.clock.now(), ZoneInfo(self._statistics.zone))
            most = query.jobs if isinstance(query, LanesQuery) else 1
            return lanes(self._statistics, buckets, most, among=among, quantiles=query.quantiles)

    def compare(self, query: CompareQuery, among: Collection[str] | None = None) -> Comparison:
        """Return two periods side by side, of all jobs or of some."""
        with self._lock:
            periods = choose_periods(query, self._kernel.clock.now(), ZoneInfo(self._statistics.zone))
            return compare_periods(self._statistics, periods, query.jobs, among)

    def today(self) -> Day:
        """Return the outcomes of all jobs today."""
        with self._lock:
            return outcomes_today(self._statistics, self._kernel.clock.now())

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        """Register the statistics as HTTP resources; they replace what the store alone can count."""
        path = "/scheduler/jobs/{job_id}/execution-stats"
        register("GET", path, self.answer, role="viewer", tag="statistics", errors=(404,))
        register("GET", "/scheduler/stats/today", self.answer_today, role="viewer", tag="statistics", on_wall=True)
        labels = "/scheduler/stats/labels"
        register("GET", labels, self.answer_labels, role="viewer", tag="statistics")
        register("GET", labels + "/{label}", self.answer_label, role="viewer", tag="statistics")
        register("GET", "/scheduler/lanes", self.answer_lanes, role="viewer", tag="statistics", scoped=True)
        lane = "/scheduler/jobs/{job_id}/lane"
        register("GET", lane, self.answer_lane, role="viewer", tag="statistics", errors=(404,))
        register("GET", "/scheduler/compare", self.answer_compare, role="viewer", tag="statistics", scoped=True)
        keys: dict[str, Any] = {"role": "viewer", "tag": "statistics", "scoped": True, "on_wall": True}
        register("GET", "/scheduler/forecast", self.answer_forecast, **keys)
        one = "/scheduler/jobs/{job_id}/forecast"
        register("GET", one, self.answer_job_forecast, role="viewer", tag="statistics", errors=(404,))

    async def answer(self, _request: Any, job_id: str) -> JobStatistics:
        """Return the statistics of a job: counts, success rate, durations, streaks, by day and by hour."""
        stats = self.of_job(job_id)
        if stats.total == 0:
            await self._kernel.job(job_id)  # UnknownJobError for an unknown id
        return stats

    async def answer_today(self, _request: Any) -> Day:
        """Return the outcomes of all jobs on the current day, in the time zone of the statistics."""
        return self.today()

    async def answer_labels(self, _request: Any) -> LabelNames:
        """List the names of labels by which runs are counted."""
        return self.labels()

    async def answer_label(self, _request: Any, label: str, query: LabelQuery) -> LabelStatistics:
        """Return the statistics of all runs by the value of a label, the values with most runs first."""
        return self.of_label(label, query.value, limit=query.limit, offset=query.offset)

    async def answer_lanes(self, _request: Any, caller: Caller, query: LanesQuery) -> Lanes:
        """Return the timeline of all jobs: a lane for each of those that matter, and the sum of the others."""
        sees_all = await caller.sees("")
        among = None if sees_all else {view.job.id for view in await caller.kernel.jobs()}
        found = await in_thread(lambda: self.lanes(query, among), "gnomon-stats-lanes")
        for lane in found.lanes:
            lane.name = await self._name_of(lane.job_id)
        return found

    async def answer_lane(self, _request: Any, job_id: str, query: LaneQuery) -> Lanes:
        """Return the timeline of one job."""
        found = await in_thread(lambda: self.lanes(query, [job_id]), "gnomon-stats-lanes")
        if job_id not in self._statistics.jobs:
            await self._kernel.job(job_id)  # UnknownJobError for an unknown id
        for lane in found.lanes:
            lane.name = await self._name_of(lane.job_id)
        return found

    async def answer_compare(self, _request: Any, caller: Caller, query: CompareQuery) -> Comparison:
        """Compare two periods, by default this week with the last one, those jobs first that changed most."""
        among = None if await caller.sees("") else {view.job.id for view in await caller.kernel.jobs()}
        if query.job_id is not None:
            if query.job_id not in self._statistics.jobs or not await caller.sees(query.job_id):
                await caller.kernel.job(query.job_id)  # UnknownJobError for an unknown id
            among = {query.job_id}
        found = await in_thread(lambda: self.compare(query, among), "gnomon-stats-comparison")
        for one in found.jobs:
            await self._describe(one, found)
        return found

    async def _describe(self, one: JobComparison, found: Comparison) -> None:
        """Add the name of a job, and the changes of its definition in the two periods."""
        one.name = await self._name_of(one.job_id)
        with suppress(UnknownJobError):  # of imported runs alone
            since, until = min(found.since, found.other_since), max(found.until, found.other_until)
            acts = await self._kernel.job_changes(one.job_id or "")
            changes = [act for act in acts if since <= act.at < until]
            one.changes, one.changes_total = changes[-MOST_CHANGES:], len(changes)

    async def answer_forecast(self, _request: Any, caller: Caller, query: ForecastsQuery) -> Forecast:
        """Return what is expected of the fires to come, with the ends of their runs; the jobs that fire next."""
        views = [view for view in await caller.kernel.jobs() if query.has(view)]
        return await self._forecast(views, query, Extent(query.jobs, query.fires, query.totals))

    async def answer_job_forecast(self, _request: Any, job_id: str, query: ForecastQuery) -> Forecast:
        """Return what is expected of the fires to come of one job."""
        return await self._forecast([await self._kernel.job(job_id)], query, Extent(jobs=1))

    async def _forecast(self, views: Sequence[JobView], query: ForecastQuery, extent: Extent) -> Forecast:
        now, health = self._kernel.clock.now(), self._kernel.health()
        since, until = query.period(now)
        limits = {group.name: group.limit for group in health.groups if group.limit is not None}
        around = Circumstances(self._closures, health.hold is not None, limits)

        def compute() -> Forecast:
            with self._lock:
                folds = ((view.job.id, self._statistics.jobs.get(view.job.id)) for view in views)
                counted = {name: own_numbers(fold) for name, fold in folds if fold is not None}
            return forecast(views, counted, since, until, now, extent, around)

        return await in_thread(compute, "gnomon-stats-forecast")

    async def _name_of(self, job_id: str | None) -> str | None:
        try:
            view = await self._kernel.job(job_id or "")
        except UnknownJobError:
            return job_id  # of a job that was removed
        return view.state.display_name or view.job.title

    # --- beside the kernel ---

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
        """Load the saved statistics, count from there on, and save them periodically and at the end."""
        self._kernel, self._behind = kernel, asyncio.Event()
        self._statistics = await self._load(kernel)
        self._saved = self._statistics.counted
        move_to_zone(self._statistics, self.config.timezone)
        self._closures.clear()
        for plugin in kernel.plugins:
            plugin.contribute("register_closures", self._closures.append)
        async with asyncio.TaskGroup() as tasks:
            # Not before the start: catching up with a long log takes longer than a start may.
            work = [tasks.create_task(self._catch_up(kernel)), tasks.create_task(self._save_often(kernel))]
            yield
            for task in work:
                task.cancel()
        await self._save(kernel)

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        """Count events that follow on; where some are missing in between, they are read from the log."""
        with self._lock:
            if events[0].position <= self._statistics.counted + 1:
                fold(self._statistics, events)
                return
        self._behind.set()

    async def _load(self, kernel: Kernel) -> Statistics:
        checkpoint = await kernel.checkpoint(CHECKPOINT)
        if checkpoint is not None:
            try:
                return from_checkpoint(checkpoint, await _head(kernel, checkpoint.position))
            except UnreadableViewError as exc:
                lost = "counts of what retention has deleted"
                log.error("statistics are counted again from the log", problem=str(exc), lost=lost)
        return Statistics(self.config.timezone)

    async def _catch_up(self, kernel: Kernel) -> None:
        while True:
            self._behind.clear()
            try:
                while events := await kernel.events(self._statistics.counted, BLOCK):
                    with self._lock:
                        fold(self._statistics, events)
            except StoreUnavailableError as exc:
                log.warning("statistics are waiting for the store", problem=str(exc))
                await asyncio.sleep(RETRY_S)
            else:
                await self._behind.wait()

    async def _save_often(self, kernel: Kernel) -> None:
        took = 0.0
        while True:  # in real time, because this thread is real; less often with thousands of jobs
            await asyncio.sleep(max(self.config.save_every.total_seconds(), took * 50))
            begin = time.monotonic()
            await self._save(kernel)
            took = time.monotonic() - begin

    async def _save(self, kernel: Kernel) -> None:
        if self._statistics.counted == self._saved or kernel.health().role == "follower":
            return
        with self._lock:
            counted, checkpoint = self._statistics.counted, to_checkpoint(self._statistics)
        try:
            await kernel.save_checkpoint(CHECKPOINT, checkpoint)
        except GnomonError as exc:
            log.warning("statistics could not be saved; they will be saved later", problem=str(exc))
        else:
            self._saved = counted


async def _head(kernel: Kernel, counted: int) -> int:
    """Return the end of the log, as far as it is known: the leader may have saved what a follower has not received."""
    head = kernel.health().position
    if counted > head and (events := await kernel.events(counted - 1, 1)):
        return max(head, events[-1].position)
    return head
