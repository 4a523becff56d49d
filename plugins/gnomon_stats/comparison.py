"""The comparison of saved statistics with statistics counted again from the log.

A log that was pruned has gaps in its positions. Counts of events after the last gap must be equal. Counts that reach
back further must be at least what is left in the log, and their parts must add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec

from gnomon.stores.microseconds import from_micros
from gnomon_stats.fold import Statistics
from gnomon_stats.histogram import middle_of
from gnomon_stats.job_fold import HOUR_MICROS, JobFold
from gnomon_stats.label_fold import LabelFold, ValueFolds
from gnomon_stats.lane_comparison import compare_lanes
from gnomon_stats.series import Row, Series, Tally


class Difference(msgspec.Struct, frozen=True):
    """A value that differs: in the saved statistics of a job, or of a value of a label, and in the log."""

    job_id: str | None
    what: str
    kept: Any
    log: Any
    label: str | None = None

    def __str__(self) -> str:
        of_what = self.job_id or (f"label {self.label}" if self.label is not None else "all jobs")
        return f"{of_what}, {self.what}: saved {self.kept}, the log has {self.log}"


class Reach(msgspec.Struct, frozen=True):
    """Positions: after them the log is complete (0: from its start), days are of the current zone, rows are kept."""

    whole_after: int = 0
    days_after: int = 0
    rows_after: int = 0


def compare(kept: Statistics, log: Statistics, reach: Reach) -> list[Difference]:
    """Return all differences, job by job, then label by label."""
    found: list[Difference] = []
    for job_id in sorted(kept.jobs.keys() | log.jobs.keys()):
        ours, theirs = kept.jobs.get(job_id) or JobFold(), log.jobs.get(job_id) or JobFold()
        for what, one, other in _compare_job(ours, theirs, reach):
            found.append(Difference(job_id, what, one, other))
    found += [Difference(None, what, one, other, label) for label, what, one, other in _labels(kept, log, reach)]
    lanes = compare_lanes(kept.lanes, log.lanes, whole_after=reach.whole_after, days_after=reach.days_after)
    found += [Difference(job_id, what, one, other) for job_id, what, one, other in lanes]
    if reach.whole_after == 0:  # an estimate rests on runs that a pruned log no longer has
        for job_id in sorted(kept.etas.jobs.keys() | log.etas.jobs.keys()):
            found += [
                Difference(job_id, "estimates of the time left", one, other)
                for one, other in [(kept.etas.jobs.get(job_id), log.etas.jobs.get(job_id))]
                if one != other
            ]
    return found


def _labels(statistics: Statistics, log: Statistics, reach: Reach) -> Iterator[tuple[str, str, Any, Any]]:
    kept, counted = statistics.labels, log.labels
    for name in sorted(kept.names.keys() | counted.names.keys()):
        ours, theirs = _by_value(kept, name), _by_value(counted, name)
        for label in sorted(ours.keys() | theirs.keys()):
            one, other = ours.get(label) or JobFold(), theirs.get(label) or JobFold()
            for what, saved, found in _compare_job(one, other, reach):
                yield label, what, saved, found
    if kept.left_out != counted.left_out if reach.whole_after == 0 else kept.left_out < counted.left_out:
        least = "at least " if reach.whole_after else ""
        yield "of other names", "runs", kept.left_out, f"{least}{counted.left_out}"
    if kept.open != counted.open:
        yield "of open runs", "labels", kept.open, counted.open


def _by_value(labels: LabelFold, name: str) -> dict[str, JobFold]:
    folds = labels.names.get(name) or ValueFolds()
    other: dict[str, JobFold] = {f"{name}, other values": folds.other} if folds.other is not None else {}
    return {f"{name}={value}": one for value, one in folds.values.items()} | other


_Finding = tuple[str, Any, Any]


def _compare_job(kept: JobFold, log: JobFold, reach: Reach) -> Iterator[_Finding]:
    if reach.whole_after == 0:
        yield from _unequal("total", kept.total, log.total)
        yield from _differing("durations", kept.durations, log.durations)
        if kept.extremes is not None:
            yield from _differing("shortest and longest duration", kept.extremes, log.extremes)
        yield from _differing("streak", kept.streak, log.streak)
        yield from _differing("last execution", kept.last, log.last)
    else:
        yield from _too_few("total", kept.total, log.total)
        for bucket, count in log.durations.items():
            if (ours := kept.durations.get(bucket, 0)) < count:
                yield f"durations of about {middle_of(bucket) / 1e6:.3g} s", ours, f"at least {count}"
        yield from _streak_after_gap(kept, log, reach.whole_after)
        if kept.last is None or kept.last.position > reach.whole_after:
            yield from _differing("last execution", kept.last, log.last)
    yield from _differing("open executions", kept.open, log.open)
    yield from _inner(kept)
    rows_after = max(reach.whole_after, reach.rows_after)
    yield from _series("day", kept.days, log.days, max(rows_after, reach.days_after))
    yield from _series("hour", kept.hours, log.hours, rows_after)


def _inner(kept: JobFold) -> Iterator[_Finding]:
    """Check that the parts add up to the total: the only check of what the log no longer has."""
    parts = Tally()
    parts.add(kept.older)
    for row in kept.days:
        parts.add(row.tally)
    if parts != kept.total:
        yield "total, compared with the sum of its days", _plain(kept.total), _plain(parts)
    if (counted := sum(kept.durations.values())) != kept.total.success:
        yield "durations, compared with the successes", counted, kept.total.success


def _series(name: str, kept: Series, log: Series, after: int) -> Iterator[_Finding]:
    ours, theirs = ({row.period: row for row in series} for series in (kept, log))
    for period in sorted(ours.keys() | theirs.keys()):
        row, other = ours.get(period), theirs.get(period)
        if all(one is None or one.first > after for one in (row, other)):
            yield from _unequal(_period(name, period), _tally(row), _tally(other))


def _tally(row: Row | None) -> Tally:
    return row.tally if row is not None else Tally()


def _streak_after_gap(kept: JobFold, log: JobFold, whole_after: int) -> Iterator[_Finding]:
    ours, theirs = kept.streak, log.streak
    if ours.since > whole_after:
        yield from _differing("streak", (ours.status, ours.length), (theirs.status, theirs.length))
    for name in ("longest_success", "longest_failed"):
        if getattr(ours, name) < getattr(theirs, name):
            yield name.replace("_", " "), getattr(ours, name), f"at least {getattr(theirs, name)}"


def _unequal(what: str, kept: Tally, log: Tally) -> Iterator[_Finding]:
    for name in Tally.__struct_fields__:
        ours, theirs = getattr(kept, name), getattr(log, name)
        if ours != theirs:
            yield f"{what}, {_word(name)}", ours, theirs


def _too_few(what: str, kept: Tally, log: Tally) -> Iterator[_Finding]:
    for name in Tally.__struct_fields__:
        ours, theirs = getattr(kept, name), getattr(log, name)
        if ours < theirs:
            yield f"{what}, {_word(name)}", ours, f"at least {theirs}"


def _differing(what: str, kept: Any, log: Any) -> Iterator[_Finding]:
    if kept != log:
        yield what, _plain(kept), _plain(log)


def _word(name: str) -> str:
    return "µs of successes" if name == "micros" else name


def _period(name: str, period: int) -> str:
    if name == "day":
        return f"day {date.fromordinal(period)}"
    return f"hour {from_micros(period * HOUR_MICROS):%Y-%m-%dT%H}Z"


def _plain(value: Any) -> Any:
    return msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else value
