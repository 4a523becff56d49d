"""What the kernel answers when it is asked: how a job stands, what a trigger led to, how everything is doing."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import JournalState
from gnomon.jobs.job import Job


class JobView(msgspec.Struct, frozen=True):
    """A job as it stands: its definition, what the log knows of it, what it is doing."""

    job: Job
    state: JobState
    next_fire: datetime | None
    running: list[str]
    waiting: list[str]


class LiveRun(msgspec.Struct, frozen=True):
    """A run with a live body. `quiet` is the seconds since its last sign of life.

    A sign of life is what the body tells of itself: each call of its context, each line that it logs or prints.
    """

    execution: Execution
    job: Job
    quiet: float


class Triggered(msgspec.Struct, frozen=True):
    """What a trigger led to. `resumed`: the job was paused and is not any more; `is_new`: not a repeated request."""

    execution: Execution
    resumed: bool
    is_new: bool


class Health(msgspec.Struct, frozen=True):
    """How the kernel is doing.

    `backlog` counts events that are not where they belong: not durable yet, or kept somewhere else by a degraded store.
    With `accepts_runs` false the store has no room for new runs: they wait.
    """

    state: JournalState
    problem: str | None
    store: str
    position: int
    backlog: int
    accepts_runs: bool
    running: int
    waiting: int
    plugins: list[PluginHealth]


PluginState = Literal["starting", "healthy", "degraded", "blocked", "stopped"]


class PluginHealth(msgspec.Struct, frozen=True):
    """How a plugin that observes or guards is doing. `cursor` is the last position taken in, `lag` how many are behind.

    It is degraded while its hooks keep failing, from when its guard fails until it answers, and while it says so itself
    in its attribute `problem`.
    """

    name: str
    state: PluginState
    cursor: int
    lag: int
    delivered: int
    failures: int
    problem: str | None
