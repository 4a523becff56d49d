"""The proof of kept statistics: everything counted again from the log, and by the store where it can do that itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from gnomon import Cancelled, Event, Failed, Missed, Scheduled, Started, Store, Succeeded
from gnomon.domain.records import JobStatistics
from gnomon.stores.reading import read_log
from gnomon_stats.comparison import Difference, Reach, compare
from gnomon_stats.fold import Statistics, Streak, fold
from gnomon_stats.kept import CHECKPOINT, keep
from gnomon_stats.reading import bring_to, kept_statistics

TRIES = 5
"""Times that the store is asked to count, while a running kernel goes on writing, before that is given up."""


class Verification(msgspec.Struct, kw_only=True):
    """What was compared, up to `position`: nothing where nothing was kept yet (`kept_at` None).

    The log is whole after `whole_after`, from `whole_since` on; 0 and None where nothing was forgotten. The store
    counted as well where `store` is "equal" or "different".
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
    """Counts again from the first event that the log still has, and notes where something is missing.

    Beside the fold it counts as a store does: executions by status, a range of missed fires as one.
    """

    def __init__(self, zone: str) -> None:
        self.statistics = Statistics(zone)
        self.whole_after = 0
        self.whole_since: datetime | None = None
        self._open: dict[str, tuple[str, str]] = {}
        self._ended: Counter[tuple[str, str]] = Counter()
        self._micros: Counter[str] = Counter()

    async def go_on(self, store: Store, head: int) -> None:
        """Read on to a position."""
        async for page in read_log(store, self.statistics.position, head):
            self._take(page)
        if self.statistics.position < head:
            self.statistics.position = self.whole_after = head
            self.whole_since = None

    def _take(self, events: Sequence[Event]) -> None:
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
            elif (status := _STATUS.get(type(event))) is not None:
                self._open.pop(event.stream, None)
                self._ended[event.job_id, status] += 1
                if status == "success":
                    self._micros[event.job_id] += round((getattr(event, "execution_time", None) or 0.0) * 1e6)
        fold(self.statistics, events[begin:])

    def _end_streaks(self) -> None:
        """Begin streaks anew after a gap: nobody knows what is missing between two successes."""
        for job in self.statistics.jobs.values():
            job.streak = Streak()

    def by_status(self) -> dict[str, dict[str, int]]:
        """Return the executions of each job by status."""
        found: dict[str, dict[str, int]] = {}
        for (job_id, status), count in (self._ended + Counter(self._open.values())).items():
            found.setdefault(job_id, {})[status] = count
        return found

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


async def rebuild(store: Store, recount: Recount) -> None:
    """Keep what was counted from the log in place of what was kept; for a store that is open for writing."""
    await recount.go_on(store, await store.head())
    await store.save_checkpoint(CHECKPOINT, keep(recount.statistics))


async def verify(store: Store, zone: str) -> Verification:
    """Compare what is kept, brought up to the end of the log, with what the log says; the store may be read-only."""
    kept = await kept_statistics(store)
    kept_at = kept.position if kept is not None else None
    recount = Recount(kept.zone if kept is not None else zone)
    await recount.go_on(store, await store.head())
    log = recount.statistics
    differences: list[Difference] = []
    if kept is not None:
        await bring_to(kept, store, log.position)
        differences = compare(kept, log, Reach(recount.whole_after, kept.zone_since))
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
    await _ask_store(store, recount, found)
    return found


async def _ask_store(store: Store, recount: Recount, found: Verification) -> None:
    """Let the store count, at a moment when nothing is written between its count and ours."""
    for _ in range(TRIES):
        await recount.go_on(store, await store.head())
        counted = await store.statistics()
        if counted is None:
            return
        if await store.head() == recount.statistics.position:
            differences = _against(recount, counted)
            found.differences += differences
            found.store = "different" if differences else "equal"
            return
    found.store = f"was written to while it counted, {TRIES} times"


def _against(recount: Recount, counted: Sequence[JobStatistics]) -> list[Difference]:
    ours, theirs = recount.by_status(), {job.job_id: job for job in counted}
    found: list[Difference] = []
    for job_id in sorted(ours.keys() | theirs.keys()):
        job = theirs.get(job_id)
        by_status = job.by_status if job is not None else {}
        if by_status != ours.get(job_id, {}):
            found.append(Difference(job_id, "executions as the store counts them", by_status, ours.get(job_id, {})))
        average = recount.average(job_id)
        theirs_average = job.average_execution_time if job is not None else None
        if abs((average or 0.0) - (theirs_average or 0.0)) > 1e-6:  # ours are whole µs
            found.append(Difference(job_id, "mean seconds as the store counts them", theirs_average, average))
    return found
