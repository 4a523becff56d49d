"""Jobs and runs as a running kernel shows them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gnomon.domain.events import Origin
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.jobs.job import Job
from gnomon.jobs.overrides import Overrides


class BackfillCounts(msgspec.Struct, frozen=True):
    """How far a backfill is since its kernel started: runs that were made, and times that needed none."""

    runs: int
    left_out: int


class JobView(msgspec.Struct, frozen=True):
    """A job at this moment: its definition, its state in the log, its next fire, and its runs by id.

    `overrides` says which arguments a command may set for one run.
    `source` names what defines the job; its `origin` is `api` where an order has added it, and `attached` for a job of
    another scheduler. `problem` is set for an added job that cannot run: it is kept, and its fires are held.
    `backfill` is set while runs are made for past fires. `lingering` runs have ended, such as by their timeout, but
    their bodies still run and keep their slots of the job.
    """

    job: Job
    state: JobState
    next_fire: datetime | None
    running: list[str]
    waiting: list[str]
    lingering: list[str] = []
    overrides: Overrides = "all"
    origin: Origin = "code"
    source: str = ""
    problem: str | None = None
    backfill: BackfillCounts | None = None


class JobOrdered(msgspec.Struct, frozen=True):
    """The result of an order about a job: its version, whether it was added, and the job, None if it is gone."""

    version: int
    is_new: bool
    view: JobView | None


class LiveRun(msgspec.Struct, frozen=True):
    """A run with a live body. `quiet` is the number of seconds since its last sign of life.

    Every call of the body's context and every line that it logs or prints is a sign of life.
    """

    execution: Execution
    job: Job
    quiet: float


class Triggered(msgspec.Struct, frozen=True):
    """The result of a trigger. `resumed`: the job was paused before; `is_new`: false for a repeated request.

    `joined`: the job has `debounce`, and this run waited already; then it is not new either.
    """

    execution: Execution
    resumed: bool
    is_new: bool
    joined: bool = False
