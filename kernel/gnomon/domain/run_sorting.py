"""The order of a list of executions: by one of its columns, and the newest first where that is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

import msgspec

from gnomon.domain.execution import Execution

SortKey = Literal["started", "job", "status", "duration", "late", "progress", "by"]
SORT_KEYS: Final[tuple[SortKey, ...]] = ("started", "job", "status", "duration", "late", "progress", "by")
SortValue: TypeAlias = str | float | None


class RunSort(msgspec.Struct, frozen=True):
    """Executions sorted by a key: `job` by id, `late` and `duration` in seconds, `by` by actor, `progress` in percent.

    Those without a value, such as the duration of a run that has not ended, come last in both directions; a run that is
    over has no progress. Of equal ones the newer comes first. `started` is the `timestamp`: its two directions are the
    reverse of each other.
    """

    key: SortKey
    descending: bool = False

    def __str__(self) -> str:
        return f"-{self.key}" if self.descending else self.key


NEWEST_FIRST: Final = RunSort("started", descending=True)


def sort_value(view: Execution, key: SortKey) -> SortValue:
    """Return what an execution is sorted by; None where it has no such value. For `started` it is the newest order."""
    return _VALUES[key](view)


_VALUES: Final[dict[SortKey, Callable[[Execution], SortValue]]] = {
    "started": lambda _: None,
    "job": lambda view: view.job_id,
    "status": lambda view: view.status,
    "duration": lambda view: view.execution_time,
    "late": lambda view: view.delay,
    "progress": lambda view: None if view.is_over else view.progress.percent,
    "by": lambda view: view.actor or None,
}


def in_order(views: Iterable[Execution], sort: RunSort) -> list[Execution]:
    """Return executions in the order of a list."""
    newest = sorted(views, key=lambda view: (view.timestamp, view.id), reverse=True)
    if sort.key == "started":
        return newest if sort.descending else newest[::-1]
    valued = [(value, view) for view in newest if (value := sort_value(view, sort.key)) is not None]
    valued.sort(key=lambda one: one[0], reverse=sort.descending)
    return [view for _, view in valued] + [view for view in newest if sort_value(view, sort.key) is None]
