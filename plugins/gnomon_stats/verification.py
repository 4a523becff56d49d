"""The verification of saved statistics: everything counted again from the log, and by the store where it can count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from gnomon import Cancelled, Event, Failed, Imported, Missed, Scheduled, Started, Store, Succeeded
from gnomon.domain.records import ExecutionCounts
from gnomon.durations import LONGEST_RUN
from gnomon.stores.reading import read_log
from gnomon_stats.checkpoint import CHECKPOINT, to_checkpoint
from gnomon_stats.comparison import Difference, Reach, compare
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.job_fold import Streak, micros_of
from gnomon_stats.reading import catch_up, saved_statistics

TRIES = 5
"""Attempts to get the store's counts while a running kernel keeps writing."""


class Verification(msgspec.Struct, kw_only=True):
    """The result of a comparison up to `position`; nothing was saved yet where `kept_at` is None.

    The log is complete after position `whole_after`, from `whole_since` on; 0 and None where nothing was pruned.
    `store` is "equal" or "different" where the store counted as well.
    """

    position: int
    kept_at: int | None
    executions: int
    jobs: int
    whole_after: int = 0
    whole_since: datetime | None = None
    store: str = "does not count by itself"
    differences: list[Difference] = []

    @property
    def is_proved(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


class Recount:
    """Counts again from the first event that the log still has, and records where events are missing.

    Beside the fold it counts as a store does: executions by status, with a range of missed fires as one.
    """

    def __init__(self, zone: str) -> None:
        self.statistics = Statistics(zone)
        self.whole_after = 0
        self.whole_since: datetime | None = None
        self._open: dict[str, tuple[str, str]] = {}
        self._ended: Counter[tuple[str, str]] = Counter()
        self._micros: Counter[str] = Counter()
        self._cut: set[str] = set()

    async def advance(self, store: Store, head: int) -> None:
        """Count up to a position."""
        async for page in read_log(store, self.statistics.position, head):
            self._count(page)
        if self.statistics.position < head:
            self.statistics.skip_to(head)
            self.whole_after = head
            self.whole_since = None

    def _count(self, events: Sequence[Event]) -> None:
        expected, begin = self.statistics.position + 1, 0
        for number, event in enumerate(events):
            if event.position != expected:
                self.whole_after, self.whole_since = event.position - 1, event.at
                fold(self.statistics, events[begin:number])
                self._end_streaks()
                begin = number
            expected = event.position + 1
            if isinstance(event, Scheduled | Started):
                self._open[event.stream] = event.job_id, "running" if isinstance(event, Started) else "scheduled"
            elif (status := _status_of(event)) is not None:
                self._open.pop(event.stream, None)
                self._ended[event.job_id, status] += 1
                if status == "success":
                    seconds = getattr(event, "execution_time", None) or 0.0
                    self._micros[event.job_id] += micros_of(seconds)
                    if seconds > LONGEST_RUN.total_seconds():
                        self._cut.add(event.job_id)
        fold(self.statistics, events[begin:])

    def _end_streaks(self) -> None:
        """Reset streaks after a gap: the events between two successes are unknown."""
        for job in self.statistics.jobs.values():
            job.streak = Streak()
        for label in self.statistics.labels.names.values():
            for one in (*label.values.values(), *([label.other] if label.other is not None else [])):
                one.streak = Streak()

    def by_status(self) -> dict[str, dict[str, int]]:
        """Return the executions of each job by status."""
        found: dict[str, dict[str, int]] = {}
        for (job_id, status), count in (self._ended + Counter(self._open.values())).items():
            found.setdefault(job_id, {})[status] = count
        return found

    def has_average(self, job_id: str) -> bool:
        """Return whether the mean is that of the log: durations that no run can have are cut, which stores do not."""
        return job_id not in self._cut

    def average(self, job_id: str) -> float | None:
        """Return the mean seconds of the successful executions of a job."""
        successes = self._ended[job_id, "success"]
        return self._micros[job_id] / successes / 1e6 if successes else None


_STATUS: dict[type[Event], str] = {
    Succeeded: "success",
    Failed: "failed",
    Missed: "missed",
    Cancelled: "cancelled",
}


def _status_of(event: Event) -> str | None:
    """Return the status of an execution that ends, or was imported, with an event."""
    return event.status if isinstance(event, Imported) else _STATUS.get(type(event))


async def rebuild(store: Store, recount: Recount) -> None:
    """Replace the saved statistics by those counted from the log; the store is open for writing."""
    await recount.advance(store, await store.head())
    await store.save_checkpoint(CHECKPOINT, to_checkpoint(recount.statistics))


async def verify(store: Store, zone: str) -> Verification:
    """Compare the saved statistics, brought up to the end of the log, with the log; the store may be read-only."""
    kept = await saved_statistics(store)
    kept_at = kept.position if kept is not None else None
    recount = Recount(kept.zone if kept is not None else zone)
    if kept is not None:
        recount.statistics.labels = kept.labels.with_same_values()
    await recount.advance(store, await store.head())
    log = recount.statistics
    differences: list[Difference] = []
    if kept is not None:
        await catch_up(kept, store, log.position)
        differences = compare(kept, log, Reach(recount.whole_after, kept.zone_since, kept.rows_since))
    shown = kept or log
    found = Verification(
        position=log.position,
        kept_at=kept_at,
        executions=sum(job.total.total + len(job.open) for job in shown.jobs.values()),
        jobs=len(shown.jobs),
        whole_after=recount.whole_after,
        whole_since=recount.whole_since,
        differences=differences,
    )
    await _compare_with_store(store, recount, found)
    return found


async def _compare_with_store(store: Store, recount: Recount, found: Verification) -> None:
    """Compare with the store's own counts, once nothing is written between its count and ours."""
    for _ in range(TRIES):
        await recount.advance(store, await store.head())
        counted = await store.statistics()
        if counted is None:
            return
        if await store.head() == recount.statistics.position:
            differences = _against(recount, counted)
            found.differences += differences
            found.store = "different" if differences else "equal"
            return
    found.store = f"was written to while it counted, {TRIES} times"


def _against(recount: Recount, counted: Sequence[ExecutionCounts]) -> list[Difference]:
    ours, theirs = recount.by_status(), {job.job_id: job for job in counted}
    found: list[Difference] = []
    for job_id in sorted(ours.keys() | theirs.keys()):
        job = theirs.get(job_id)
        by_status = job.by_status if job is not None else {}
        if by_status != ours.get(job_id, {}):
            found.append(Difference(job_id, "executions as the store counts them", by_status, ours.get(job_id, {})))
        average = recount.average(job_id)
        theirs_average = job.average_execution_time if job is not None else None
        if recount.has_average(job_id) and abs((average or 0.0) - (theirs_average or 0.0)) > 1e-6:  # ours are whole µs
            found.append(Difference(job_id, "mean seconds as the store counts them", theirs_average, average))
    return found
