"""What the log says about the fires and the runs of a job: sentences for people, and the facts behind them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.execution import Execution, Status
from gnomon.domain.statement import Statement
from gnomon.scheduling.timezones import ClockChange

Fate = Status | Literal["held_back", "undecided", "to_come", "no_outcome", "forgotten"]


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A period in which the job was paused, or all fires were held; `until` is None while it lasts."""

    since: datetime
    until: datetime | None = None
    by: str | None = None
    reason: str | None = None
    ended_by: str | None = None

    def covers(self, moment: datetime) -> bool:
        """Return whether a fire at that moment was held back."""
        return self.until is None or moment <= self.until


class Silence(msgspec.Struct, frozen=True):
    """A period in which nothing was written to the log; None where it is open.

    `stopped` is why the kernel before it stopped, where that is in the log; `started` is the node of the one after it.
    """

    since: datetime | None
    until: datetime | None
    stopped: str | None = None
    started: str | None = None


class FireExplanation(msgspec.Struct, kw_only=True):
    """The outcome of a fire, or of a run that was triggered: `sentences` in English, each of them a statement as well.

    `executions` are its attempts, `behind` the runs that it waited for or was skipped for. `count`, `first` and `last`
    describe the range with which it was missed. `pause`, `hold` (of all jobs) or `silence` is set if it is the cause of
    the delay or of the miss.
    """

    scheduled_time: datetime
    fate: Fate
    sentences: list[str] = []
    statements: list[Statement] = []
    executions: list[Execution] = []
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None
    pause: Pause | None = None
    hold: Pause | None = None
    silence: Silence | None = None
    behind: list[Execution] = []

    def say(self, *statements: Statement) -> None:
        """Add statements."""
        self.statements += statements


class ScheduleFact(msgspec.Struct, frozen=True):
    """The schedule in force at the time that was asked about, in words; `problem` says why it cannot be computed."""

    text: str
    since: datetime
    until: datetime | None
    problem: str | None


class Explanation(msgspec.Struct, kw_only=True):
    """What the log says about a job at a time: `sentences` in English, `statements` as data, and the facts behind them.

    `asked` is the time, or the run, that was asked about, None for "the last and the next fire". `fires` are those of
    that time; if there are none, `before` and `after` are the nearest ones. `clock_change` is set where a clock change
    matters.
    """

    job_id: str
    timezone: str
    asked: str | None
    sentences: list[str] = []
    statements: list[Statement] = []
    fires: list[FireExplanation] = []
    before: datetime | None = None
    after: datetime | None = None
    schedule: ScheduleFact | None = None
    clock_change: ClockChange | None = None
    pause: Pause | None = None
