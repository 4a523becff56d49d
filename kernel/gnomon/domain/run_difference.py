"""What is different about two runs of one job, as the log has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.progress import StepStatus
from gnomon.domain.records import LogLine


class ChangedValue(msgspec.Struct, frozen=True):
    """A value that differs: that of the run, and that of the other one; null where there is none."""

    name: str
    value: Any
    other: Any


class StepPair(msgspec.Struct, frozen=True, kw_only=True):
    """A step of either run: its status, its seconds, and the seconds from the start of the body to its own start."""

    name: str
    status: StepStatus | None
    seconds: float | None
    start_s: float | None
    other_status: StepStatus | None
    other_seconds: float | None
    other_start_s: float | None


class LogDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The first difference between the logs of two runs, apart from times, numbers and ids.

    `line` and `other` are the first lines that differ, null for a log that ended before; both are null for equal logs.
    `same` lines before them are equal. `new` are lines of the run that the other log has nowhere, those of the gravest
    level first, and `new_total` is how many there are. `first_kept` and `other_first_kept` are the numbers of the first
    lines that are kept: where one is above 1, the comparison begins there.
    """

    same: int
    line: LogLine | None
    other: LogLine | None
    new: list[LogLine]
    new_total: int
    first_kept: int | None
    other_first_kept: int | None


class LoggedAct(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: an act on a job or its runs, or a fact about all kernels of the log.

    `what` is the action of an operator, such as `pause` or `change`, or `kernel_led`, `kernel_stopped`, `kernel_held`,
    `kernel_released`. `keys` are those that a change of the definition concerns. `position` is that of the event, null
    for an act on a run.
    """

    at: datetime
    what: str
    actor: str | None = None
    detail: str | None = None
    keys: list[str] = []
    execution_id: str | None = None
    position: int | None = None


class RunDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A run, another run of its job, by default the last success before it, and what is different.

    `other` is null where there is none; then everything else is empty. `definition` are the keys of the job's
    definition whose values differ, `arguments` and `labels` those of the runs, `place` where and with which code they
    ran. `between` are the newest facts between the two runs, oldest first, and `between_total` is how many there are.
    """

    run: Execution
    other: Execution | None
    arguments: list[ChangedValue] = []
    labels: list[ChangedValue] = []
    definition: list[ChangedValue] = []
    place: list[ChangedValue] = []
    steps: list[StepPair] = []
    log: LogDifference | None = None
    between: list[LoggedAct] = []
    between_total: int = 0
