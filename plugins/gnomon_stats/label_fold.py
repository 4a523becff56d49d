"""The counts of runs by label, over all jobs, with limits on how many values and names are counted apart.

The first MOST_VALUES values of a name are counted, each from its first run on, so their counts are exact. The runs with
any other value are counted together, as `other`. A limit that dropped old values would have to count one that comes
back from zero.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.domain.events import Missed, Scheduled, Started
from gnomon_stats.job_fold import LabelledFold, Step, ZoneDays

MOST_VALUES = 1_000
MOST_NAMES = 16


class ValueFolds(msgspec.Struct):
    """The counts by value of one label; `other` counts the runs whose value came after MOST_VALUES others."""

    values: dict[str, LabelledFold] = {}
    other: LabelledFold | None = None

    def fold_of(self, value: str) -> LabelledFold:
        """Return the counts to which a run with this value belongs."""
        if (found := self.values.get(value)) is not None:
            return found
        if len(self.values) < MOST_VALUES:
            self.values[value] = found = LabelledFold()
            return found
        if self.other is None:
            self.other = LabelledFold()
        return self.other


class LabelFold(msgspec.Struct):
    """The counts by label, folded up to `position`; `open` has the labels of the runs without an outcome.

    `left_out` counts the ended runs under each name that came after MOST_NAMES others.
    """

    position: int = 0
    names: dict[str, ValueFolds] = {}
    open: dict[str, dict[str, str]] = {}
    left_out: int = 0

    def count(self, event: Any, step: Step, day_of: ZoneDays) -> None:
        """Count an event of a run for each of its labels, which only its first event has."""
        if isinstance(event, Scheduled):
            if labels := event.labels:
                self.open[event.stream] = labels
        elif isinstance(event, Started):
            labels = self.open.get(event.stream, {})
        else:
            labels = self.open.pop(event.stream, {}) or (event.labels if isinstance(event, Missed) else {})
        for name, value in labels.items():
            if (folds := self._folds_of(name)) is not None:
                step(folds.fold_of(value), event, day_of)
            elif not isinstance(event, Scheduled | Started):
                self.left_out += event.count if isinstance(event, Missed) else 1

    def with_same_values(self) -> LabelFold:
        """Return empty counts of the same names and values.

        A log from which runs were deleted no longer tells which values came first.
        """
        return LabelFold(
            names={name: ValueFolds({value: LabelledFold() for value in of.values}) for name, of in self.names.items()}
        )

    def _folds_of(self, name: str) -> ValueFolds | None:
        if (found := self.names.get(name)) is None and len(self.names) < MOST_NAMES:
            found = self.names[name] = ValueFolds()
        return found
