"""The time that a running body still needs: a range, from its progress, its own pace, and past runs of its job.

Three estimates of the rest, each with a low and a high end that are meant to hold four of five runs (the 10th and the
90th percentile):

* **past**: the durations T of past successes, given that the run has lasted for t already, so those with T > t; what is
  left is T - t. The i-th of n past durations in order stands for the share i / (n + 1) of all runs, and shares between
  are interpolated. (The distribution of residual life; ranks as in David and Nagaraja, "Order Statistics", 2003, §7:
  the next run lies between the first and the last of n with probability (n - 1) / (n + 1).)
* **progress**: at a share p the rest takes t (1 - p) / p at the pace so far. A pace is a mean over the work that is
  done, so its error shrinks with the square root of that work: PACE_ERROR / sqrt(p), up to 90 %.
* **steps**: for each past run the sum of its durations of the steps that are left, those that this run has declared
  and those that came after its current step in the past run; of the current step what was left of it after as long as
  now. That sum is scaled by the pace of this run in its completed steps, weighted by their share of the time; items of
  the current step count as its progress.

Where past and progress are both known, the ends of the range are averaged with the weights 1 - p and p. Averaging
percentiles in place of probabilities keeps the range as narrow as its parts (Lichtendahl, Grushka-Cockayne, Winkler:
"Is It Better to Average Probabilities or Quantiles?", Management Science 59(7), 2013). So an early percentage cannot
make the figure jump, and a run that is 73 % done after 8 of usually 10 minutes has 2 to 3 minutes left.

How true that is for a job is measured: see the plugin `stats`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

import msgspec

from gnomon.domain.progress import ProgressView, Step

Basis = Literal["steps", "progress and past", "progress", "past"]
LOW, HIGH = 0.1, 0.9
"""The shares of runs that end before the low, and before the high end of the range."""
PACE_ERROR = 0.2
"""The relative error of the pace of a whole run, as an estimate of the pace of its rest."""
MOST_PACE_ERROR = 0.9
ENOUGH = 3
"""Fewest past runs from which something is estimated."""
_LEFT = frozenset({"pending", "current"})
_DONE = frozenset({"completed", "failed"})


class Eta(msgspec.Struct, frozen=True, kw_only=True):
    """The seconds that a run still needs, as of `at`: between `low` and `high` for about four of five runs.

    `basis` says what that comes from: the past durations of the steps that are left, the run's own progress, past
    durations of the whole run, or the last two together.
    """

    low: float
    high: float
    basis: Basis
    at: datetime

    @property
    def middle(self) -> float:
        """The middle of the range, for those who want one number."""
        return (self.low + self.high) / 2


class PastRun(msgspec.Struct, frozen=True):
    """The seconds that a successful run took, and those of each of its completed steps, in their order."""

    seconds: float
    steps: dict[str, float] = {}


_Range = tuple[float, float]


def estimate_rest(view: ProgressView, elapsed: float, past: Sequence[PastRun], now: datetime) -> Eta | None:
    """Return how long a run still needs; None where nothing is known, or it takes longer than every past run."""
    by_steps = _from_steps(view, past, now) if view.steps else None
    if by_steps is not None:
        return _eta(by_steps, "steps", now)
    done = min(max((view.percent or 0.0) / 100.0, 0.0), 1.0)
    by_past = remaining_of([one.seconds for one in past], elapsed)
    by_pace = at_pace(elapsed, done) if done > 0 else None
    if by_past is not None and by_pace is not None:
        return _eta(_average(by_past, by_pace, done), "progress and past", now)
    if by_pace is not None:
        return _eta(by_pace, "progress", now)
    return _eta(by_past, "past", now) if by_past is not None else None


def remaining_of(durations: Sequence[float], elapsed: float) -> _Range | None:
    """Return what is left of durations that exceed `elapsed`; None if there are too few, or none does."""
    if len(durations) < ENOUGH or elapsed >= max(durations):
        return None
    ordered = sorted(durations)
    before = _rank(ordered, elapsed)
    low, high = (_at_share(ordered, before + share * (1 - before)) for share in (LOW, HIGH))
    return max(low - elapsed, 0.0), max(high - elapsed, 0.0)


def at_pace(elapsed: float, done: float) -> _Range:
    """Return what is left at the pace so far, after the share `done` of the work."""
    rest, error = elapsed * (1 - done) / done, min(PACE_ERROR / math.sqrt(done), MOST_PACE_ERROR)
    return rest * (1 - error), rest * (1 + error)


def _from_steps(view: ProgressView, past: Sequence[PastRun], now: datetime) -> _Range | None:
    """Return what is left of the steps; None unless enough past runs have completed all of them."""
    left = [step for step in view.steps if step.status in _LEFT]
    known = [one.steps for one in past if all(step.name in one.steps for step in left)]
    if not left or len(known) < ENOUGH:
        return None
    sums = [sum(_seconds_to_come(view.steps, one)) for one in known]
    rest: _Range = (0.0, 0.0)
    current = next((step for step in left if step.status == "current"), None)
    if current is not None and current.started_at is not None:
        spent = max((now - current.started_at) / timedelta(seconds=1), 0.0)
        rest = _rest_of_step([one[current.name] for one in known], spent, view)
    pace = _pace(view.steps, known, sums)
    ordered = sorted(sums)
    return (rest[0] + _at_share(ordered, LOW)) * pace, (rest[1] + _at_share(ordered, HIGH)) * pace


def _seconds_to_come(steps: Sequence[Step], past: Mapping[str, float]) -> Iterator[float]:
    """Yield what each step took in a past run that this run has declared, or that came after its current step then."""
    now = {step.name: step.status for step in steps}
    is_after = False
    for name, seconds in past.items():
        if now.get(name) == "pending" or (is_after and name not in now):
            yield seconds
        is_after = is_after or now.get(name) == "current"


def _rest_of_step(durations: Sequence[float], spent: float, view: ProgressView) -> _Range:
    by_past = remaining_of(durations, spent) or (0.0, 0.0)
    if not view.total_items or not view.processed_items:
        return by_past
    done = min(view.processed_items / view.total_items, 1.0)
    return _average(by_past, at_pace(spent, done), done)


def _pace(steps: Sequence[Step], known: Sequence[Mapping[str, float]], left: Sequence[float]) -> float:
    """Return how many times as long as usual the run takes, from its completed steps; 1 where they are too short."""
    taken = {
        step.name: (step.ended_at - step.started_at) / timedelta(seconds=1)
        for step in steps
        if step.status in _DONE and step.started_at is not None and step.ended_at is not None
    }
    both = [[one[name] for name in taken] for one in known if all(name in one for name in taken)]
    usual = median([sum(row) for row in both]) if len(both) >= ENOUGH else 0.0
    if usual <= 0 or not taken:
        return 1.0
    share = usual / (usual + median(left)) if usual + median(left) > 0 else 0.0
    return (1 - share) + share * sum(taken.values()) / usual


def _average(by_past: _Range, by_pace: _Range, done: float) -> _Range:
    return (1 - done) * by_past[0] + done * by_pace[0], (1 - done) * by_past[1] + done * by_pace[1]


def _rank(ordered: Sequence[float], value: float) -> float:
    """Return the share of runs that do not last as long as `value`."""
    below, count = bisect_right(ordered, value), len(ordered)
    if below in {0, count}:
        return below / (count + 1)
    first, second = ordered[below - 1], ordered[below]
    return (below + (value - first) / (second - first)) / (count + 1)


def _at_share(ordered: Sequence[float], share: float) -> float:
    """Return the duration that a share of runs does not exceed, within those that were seen."""
    rank = share * (len(ordered) + 1) - 1
    if rank <= 0:
        return ordered[0]
    if rank >= len(ordered) - 1:
        return ordered[-1]
    below = math.floor(rank)
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (rank - below)


def _eta(found: _Range, basis: Basis, now: datetime) -> Eta:
    low, high = (round(seconds, 3) for seconds in found)
    return Eta(low=max(low, 0.0), high=max(high, low, 0.0), basis=basis, at=now)
