"""What stores take and return: queries, pages, actions, checkpoints, log lines, statistics, health."""

from __future__ import annotations

from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from gnomon.domain.execution import Execution, Status
from gnomon.domain.labels import have_labels
from gnomon.domain.run_sorting import NEWEST_FIRST, RunSort

ActionStatus = Literal["success", "failed"]


class JobScope(msgspec.Struct, frozen=True):
    """The jobs that a reader may see: those whose ids match one of the patterns, as in fnmatch, and those in `ids`."""

    patterns: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()

    def has(self, job_id: str) -> bool:
        """Return whether a job belongs to it; facts without a job never do."""
        return job_id in self.ids or (job_id != "" and any(fnmatchcase(job_id, one) for one in self.patterns))


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a number of seconds: `least` and `most` belong to the range, `above` and `below` do not."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def has(self, value: float | None) -> bool:
        """Return whether a value is within them; none is not."""
        return (
            value is not None
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )


class ExecutionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of a list of executions; all of them must match. `text` is searched in error messages, ignoring case.

    `labels` are texts such as `tenant:7`, compared exactly; a run must have all of them. `actors` are those who have
    triggered a run, one of which must have done so. `within` are the jobs that are asked for, beside `job_id`. `late`
    bounds the seconds between the due time and the start (`delay`), `duration` the `execution_time`; a run without
    such a number does not match. `since` and `until` bound `timestamp` (since <= timestamp < until). Hidden executions
    are left out and not counted unless `hidden` is true; then they are among the others.

    `sort` is the order of the list. `limit` is the size of a page, `cursor` the `next` of the page before, which had
    the same `sort`; `offset` skips rows and is meant for short lists. `scope` limits the list to the jobs that a reader
    may see. With `brief`, a store may cut what is longer than `gnomon.domain.brief.BRIEF_BYTES`, as `brief` does, to
    keep it out of memory; callers cut what it leaves.

    Without `counts`, the matches are not counted, which a store may save much work: `total` is that of the page.

    With `per_job`, the list has the newest `per_job` matches of each job, all on one page: `sort`, `limit`, `offset`
    and `cursor` do not apply, and `total` counts these.
    """

    job_id: str | None = None
    status: tuple[Status, ...] = ()
    is_manual: bool | None = None
    labels: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    within: JobScope | None = None
    late: Bounds | None = None
    duration: Bounds | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    hidden: bool = False
    sort: RunSort = NEWEST_FIRST
    limit: int = 50
    offset: int = 0
    cursor: str | None = None
    brief: bool = False
    scope: JobScope | None = None
    per_job: int | None = None
    counts: bool = True

    @property
    def scopes(self) -> list[JobScope]:
        """The sets of jobs to which a run must belong, to each of them."""
        return [scope for scope in (self.scope, self.within) if scope is not None]

    def matches(self, view: Execution) -> bool:
        """Return whether an execution passes the filters."""
        return (
            self.job_id in {None, view.job_id}
            and all(scope.has(view.job_id) for scope in self.scopes)
            and (self.hidden or not view.hidden)
            and (not self.status or view.status in self.status)
            and self.is_manual in {None, view.is_manual}
            and (not self.actors or view.actor in self.actors)
            and (not self.labels or have_labels(view.labels, self.labels))
            and (self.late is None or self.late.has(view.delay))
            and (self.duration is None or self.duration.has(view.execution_time))
            and (self.since is None or self.since <= view.timestamp)
            and (self.until is None or view.timestamp < self.until)
            and (not self.text or self.text.casefold() in (view.error_message or "").casefold())
        )


class Page(msgspec.Struct, frozen=True):
    """A page of executions in the order of the query: the newest `timestamp` first, then by id, descending.

    `total` counts all that match the filters, exactly. `next` is the cursor of the next page, None on the last one.
    """

    items: list[Execution]
    total: int
    next: str | None


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An action of an operator, derived from an event: `trigger`, `pause`, `resume`, `cancel`, `describe` or another.

    `accept_rollback` and `deploy` concern no job: their `job_id` is empty.

    A failed one was refused: a manual run by a guard, or any act because of an unknown job, a run that is over, or
    arguments that do not fit. `error_message` has the cause. `job_id` is the job as it was asked for, empty where only
    an unknown execution was named. Of many refused acts in a minute only the first ones are actions. `detail` is the
    reason that was given.
    """

    at: datetime
    job_id: str
    action: str
    status: ActionStatus = "success"
    actor: str
    error_message: str | None = None
    execution_id: str | None = None
    detail: str | None = None


class ActionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of a list of actions; all of them must match. With `job_id`: those on one job and its executions.

    `since` and `until` bound the time of the action (since <= at < until). `scope` limits the list to some jobs.
    """

    job_id: str | None = None
    status: ActionStatus | None = None
    action: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    offset: int = 0
    scope: JobScope | None = None

    def matches(self, action: Action) -> bool:
        """Return whether an action passes the filters."""
        same = ("job_id", "status", "action", "actor")
        return (
            all(getattr(self, name) in {None, getattr(action, name)} for name in same)
            and (self.scope is None or self.scope.has(action.job_id))
            and (self.since is None or self.since <= action.at)
            and (self.until is None or action.at < self.until)
        )


class ActionPage(msgspec.Struct, frozen=True):
    """A page of actions, newest first, in log order; `total` counts all that match, exactly."""

    items: list[Action]
    total: int


class Checkpoint(msgspec.Struct, frozen=True):
    """The position of a plugin in the log and the view that it has folded up to there, written in one transaction."""

    position: int
    view: bytes | None = None


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line that a run logged; `number` counts from 1 in the run, `level` is a name such as `info`."""

    number: int
    at: datetime
    level: str
    text: str
    logger: str = ""


class ExecutionCounts(msgspec.Struct, frozen=True):
    """What a store counts of the executions of one job: how many by status, mean seconds of successes, the last one.

    The last execution is the one with the newest `timestamp`. A range of fires that were missed together is one
    execution. Hidden executions are counted.
    """

    job_id: str
    by_status: dict[str, int]
    average_execution_time: float | None
    last_id: str
    last_status: str
    last_timestamp: datetime

    @property
    def total(self) -> int:
        """The number of executions."""
        return sum(self.by_status.values())


class StoreHealth(msgspec.Struct, frozen=True):
    """The health of a store.

    A degraded store keeps events safe, but not yet in their final place: `backlog` counts those, `problem` has the
    cause. With `accepts_runs` false it has room only for the ends of running executions, and no body may be started.
    A lost one can never write to its log again: another file is in its place, or another process owns it, which this
    one may follow (`has_other_leader`).
    """

    state: Literal["healthy", "degraded", "lost"] = "healthy"
    problem: str | None = None
    backlog: int = 0
    accepts_runs: bool = True
    has_other_leader: bool = False


class LogHolder(msgspec.Struct, frozen=True):
    """The kernel that holds a log open for writing, as `Store.holder` has found it.

    `log` and `name` are for people. An active one was seen to be alive; another one has been silent for `silent_s`.
    `consequences` say what taking the log from it would do. `mark` is for the store that has made it.
    """

    log: str
    name: str
    is_active: bool
    silent_s: float
    consequences: list[str]
    mark: object = None


JournalState = Literal["healthy", "degraded", "deposed", "stopped"]
