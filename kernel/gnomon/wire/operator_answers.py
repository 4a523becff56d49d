"""The answers to acts of operators on fires and on the whole kernel, and what jobs show of them."""

from __future__ import annotations

from datetime import datetime

import msgspec


class SkippedFire(msgspec.Struct, kw_only=True, frozen=True):
    """A fire of a job that will not run, or that will after all where `skipped` is false."""

    job_id: str
    scheduled_time: datetime
    skipped: bool


class BackfillAnswer(msgspec.Struct, kw_only=True, frozen=True):
    """The number of past fires that a backfill looks at, one that has begun or would begin."""

    job_id: str
    fires: int


class BackfillStop(msgspec.Struct, kw_only=True, frozen=True):
    """Whether a job had a backfill, which makes no more runs now."""

    job_id: str
    stopped: bool


class HoldAnswer(msgspec.Struct, kw_only=True, frozen=True):
    """Whether the fires of all jobs are held back, and whether this request changed that."""

    held: bool
    changed: bool


class RetriedRun(msgspec.Struct, kw_only=True, frozen=True):
    """What came of running an execution again: the new `run`, or why there is none.

    `started` is false for an execution that an earlier request has run again: then `run` is that one.
    """

    id: str
    run: str | None = None
    started: bool = False
    error: str | None = None


class Retried(msgspec.Struct, kw_only=True, frozen=True):
    """How many executions were asked for, how many of them run again now, and what came of each."""

    matched: int
    started: int
    items: list[RetriedRun]


class BackfillProgress(msgspec.Struct, kw_only=True, rename={"since": "from", "until": "to"}):
    """A backfill that is not over. `fires` is the number of fires that it looks at, null where it is not known.

    Since the kernel started, `runs` were made, and `left_out` fires needed none.
    """

    since: datetime
    until: datetime
    overlap: bool
    rerun: bool
    rate: str | None
    actor: str | None
    fires: int | None
    runs: int
    left_out: int


class SkippedTime(msgspec.Struct, kw_only=True):
    """A fire to come that will not run, because an operator skips it."""

    scheduled_time: datetime
    actor: str | None
    reason: str | None
