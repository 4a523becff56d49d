"""Fold a second of events after another with thousands of jobs: the CPU time that alerts and statistics cost.

python bench/folds.py [--jobs 5000] [--rate 200] [--seconds 300]

The CPU time of each event in the folds of the plugins `alerts` and `stats`, and of the timelines in the latter, as a
kernel with small commits delivers them; the time of a look at all jobs and of a checkpoint of each.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gnomon import Event, Failed, JobAdded, Scheduled, Started, Succeeded
from gnomon_alerts.checkpoint import to_checkpoint as alerts_checkpoint
from gnomon_alerts.detector import Detector
from gnomon_alerts.rules import Rules
from gnomon_stats.checkpoint import to_checkpoint as stats_checkpoint
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.job_fold import ZoneDays
from gnomon_stats.lane_fold import LaneFold
from measure import arguments, report, short

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
COMMIT = 4
"""Events that a kernel with 200 events a second commits together."""


def events(jobs: int, rate: int, seconds: int) -> Iterator[Event]:
    """Yield the definitions of jobs, and then their runs; one in fifty fails."""
    chance, positions = random.Random(7), itertools.count(1)  # noqa: S311 - the same log each time
    for number in range(jobs):
        place: dict[str, Any] = {"stream": f"job:job-{number}", "job_id": f"job-{number}", "node": "bench"}
        yield JobAdded(**place, version=1, position=next(positions), at=BEGIN, definition={"tags": ["bench"]})
    for number in range(rate * seconds // 3):
        at = BEGIN + timedelta(seconds=3 * number / rate)
        run: dict[str, Any] = {"stream": f"{number:024x}", "job_id": f"job-{number % jobs}", "node": "bench"}
        yield Scheduled(**run, version=1, position=next(positions), at=at, scheduled_time=at)
        yield Started(**run, version=2, position=next(positions), at=at, runner="async", delay=0.01)
        took = chance.lognormvariate(0, 0.3)
        end: dict[str, Any] = {**run, "version": 3, "position": next(positions), "at": at + timedelta(seconds=1)}
        is_bad = chance.random() < 0.02
        yield (
            Failed(**end, reason="exception", execution_time=took) if is_bad else Succeeded(**end, execution_time=took)
        )


def cost(call: Callable[[Sequence[Event]], object], log: Sequence[Event]) -> float:
    """Return the µs of CPU time that each event takes."""
    commits = [log[start : start + COMMIT] for start in range(0, len(log), COMMIT)]
    begin = time.process_time()
    for commit in commits:
        call(commit)
    return short((time.process_time() - begin) / len(log) * 1e6)


def milliseconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    begin = time.process_time()
    call()
    return short((time.process_time() - begin) * 1e3)


def main() -> None:
    """Measure once and report."""
    sizes = arguments(__doc__ or "", jobs=5_000, rate=200, seconds=300)
    log = list(events(sizes.jobs, sizes.rate, sizes.seconds))
    runs = log[sizes.jobs :]
    detector, statistics = Detector(Rules()), Statistics()
    lanes, day_of = LaneFold(), ZoneDays(ZoneInfo("UTC"))
    detector.fold(log[: sizes.jobs])

    def count_lanes(commit: Sequence[Event]) -> None:
        for event in commit:
            lanes.count(event, day_of)

    found = {
        "alerts": cost(detector.fold, runs),
        "stats": cost(lambda commit: fold(statistics, commit), runs),
        "lanes": cost(count_lanes, runs),
    }
    report(
        f"Folds of {sizes.jobs} jobs",
        f"An event costs {found['alerts']} µs in the fold of alerts and {found['stats']} in that of statistics, "
        f"{found['lanes']} of which for timelines.",
        us_per_event=found,
        percent_of_a_core={name: short(us * sizes.rate / 1e4) for name, us in found.items()},
        alerts_first_look_ms=milliseconds(lambda: detector.look(runs[-1].at)),
        alerts_look_ms=milliseconds(lambda: detector.look(runs[-1].at)),
        alerts_checkpoint_ms=milliseconds(lambda: alerts_checkpoint(detector.state)),
        stats_checkpoint_ms=milliseconds(lambda: stats_checkpoint(statistics)),
    )


if __name__ == "__main__":
    main()
