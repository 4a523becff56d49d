"""What stores are asked for and answer with: queries, pages, actions, checkpoints, log lines."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.execution import Execution, Status


class ExecutionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions a list shows; all filters combine. `text` is looked for in error messages, ignoring case.

    `since` and `until` bound `timestamp` (since <= timestamp < until). Hidden executions are left out, and not counted,
    unless `hidden` is true: then they are among the others. `limit` is the size of a page, `cursor` the
    `next` of the page before; `offset` skips rows and is for short lists.
    """

    job_id: str | None = None
    status: tuple[Status, ...] = ()
    is_manual: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    hidden: bool = False
    limit: int = 50
    offset: int = 0
    cursor: str | None = None


class Page(msgspec.Struct, frozen=True):
    """A page of executions, newest `timestamp` first (then by id, descending).

    `total` counts all that match the filters, exactly. `next` is the cursor of the next page, None at the end.
    """

    items: list[Execution]
    total: int
    next: str | None


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody did, as an event of the log tells it: `trigger`, `pause`, `resume`, `cancel`, `describe`, ...

    An act that could not even begin (no such job, no right to it) is in no log, so it is not here either. A failed one
    is a run by hand that was recorded and refused; `error_message` says why. `detail` is the reason that was given.
    """

    at: datetime
    job_id: str
    action: str
    status: Literal["success", "failed"] = "success"
    actor: str
    error_message: str | None = None
    execution_id: str | None = None
    detail: str | None = None


class ActionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which actions a list shows: those on one job and its executions, or all."""

    job_id: str | None = None
    limit: int = 50
    offset: int = 0


class ActionPage(msgspec.Struct, frozen=True):
    """A page of actions, newest first, as they stand in the log; `total` counts all that match, exactly."""

    items: list[Action]
    total: int


class Checkpoint(msgspec.Struct, frozen=True):
    """Where a plugin is in the log, and the view that it has folded so far: both written in one transaction."""

    position: int
    view: bytes | None = None


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line that a run logged; `number` counts from 1 in the run, `level` is a name such as `info`."""

    number: int
    at: datetime
    level: str
    text: str
    logger: str = ""


class JobStatistics(msgspec.Struct, frozen=True):
    """The executions of one job that a store has: how many by status, the mean seconds of successes, and the last one.

    That is the one of the newest `timestamp`. A range of fires that was missed together is one execution. Those that
    are hidden from lists count: they happened.
    """

    job_id: str
    by_status: dict[str, int]
    average_execution_time: float | None
    last_id: str
    last_status: str
    last_timestamp: datetime

    @property
    def total(self) -> int:
        """How many executions there are."""
        return sum(self.by_status.values())


class StoreHealth(msgspec.Struct, frozen=True):
    """How a store is doing.

    A degraded one takes events and keeps them safe, but not yet where they belong: `backlog` counts those, `problem`
    says why. With `accepts_runs` false it has room left only for the ends of what is running: no body is to be started.
    """

    state: Literal["healthy", "degraded"] = "healthy"
    problem: str | None = None
    backlog: int = 0
    accepts_runs: bool = True


JournalState = Literal["healthy", "degraded", "deposed", "stopped"]
