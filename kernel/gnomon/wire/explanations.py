"""Explanations and differences of runs on the wire: those of `gnomon.explanations`, with records of the runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Self

import msgspec

from gnomon.domain.brief import brief_list
from gnomon.domain.execution import Execution
from gnomon.domain.run_difference import ChangedValue, LogDifference, LoggedAct, RunDifference, StepPair
from gnomon.domain.statement import Statement
from gnomon.explanations import Explanation, Fate, FireExplanation, Pause, ScheduleFact, Silence
from gnomon.scheduling.timezones import ClockChange
from gnomon.wire.records import Record


class FireExplanationRecord(msgspec.Struct, kw_only=True):
    """The outcome of a fire, or of a run that was triggered.

    `executions` are its attempts, `behind` the runs that it waited for or was skipped for; long values in them are cut.
    `count`, `first` and `last` describe the range with which it was missed. `pause`, `hold` (of all jobs) or `silence`
    is set if it is the cause of the delay or of the miss.
    """

    scheduled_time: datetime
    fate: Fate
    sentences: list[str] = []
    statements: list[Statement] = []
    executions: list[Record] = []
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None
    pause: Pause | None = None
    hold: Pause | None = None
    silence: Silence | None = None
    behind: list[Record] = []

    @classmethod
    def of(cls, fire: FireExplanation) -> Self:
        """Make the record of an explanation."""
        fields = msgspec.structs.asdict(fire)
        return cls(**fields | {"executions": _records(fire.executions), "behind": _records(fire.behind)})

    def explanation(self) -> FireExplanation:
        """Return the explanation that the record describes."""
        fields = msgspec.structs.asdict(self)
        runs = {name: [one.execution() for one in fields[name]] for name in ("executions", "behind")}
        return FireExplanation(**fields | runs)


class ExplanationRecord(msgspec.Struct, kw_only=True):
    """What the log says about a job at a time, or about a run: `sentences` in English, and the facts behind them.

    `statements` are the sentences as data, one for each, for other languages.

    `asked` is what was asked about, null for the last and the next fire. `fires` are those of that time; if there are
    none, `before` and `after` are the nearest ones.
    """

    job_id: str
    timezone: str
    asked: str | None
    sentences: list[str] = []
    statements: list[Statement] = []
    fires: list[FireExplanationRecord] = []
    before: datetime | None = None
    after: datetime | None = None
    schedule: ScheduleFact | None = None
    clock_change: ClockChange | None = None
    pause: Pause | None = None

    @classmethod
    def of(cls, found: Explanation) -> Self:
        """Make the record of an explanation."""
        return cls(
            **msgspec.structs.asdict(found) | {"fires": [FireExplanationRecord.of(fire) for fire in found.fires]}
        )

    def explanation(self) -> Explanation:
        """Return the explanation that the record describes."""
        return Explanation(**msgspec.structs.asdict(self) | {"fires": [fire.explanation() for fire in self.fires]})


class RunDifferenceRecord(msgspec.Struct, kw_only=True):
    """A run, another run of its job, by default the last success before it, and what is different.

    `other` is null where there is none; then everything else is empty. `arguments` and `labels` are those of the runs
    that differ, `definition` the keys of the job's definition, `place` where and with which code they ran. `between`
    are the newest facts between the two runs, oldest first, and `between_total` is how many there are.
    """

    run: Record
    other: Record | None
    arguments: list[ChangedValue] = []
    labels: list[ChangedValue] = []
    definition: list[ChangedValue] = []
    place: list[ChangedValue] = []
    steps: list[StepPair] = []
    log: LogDifference | None = None
    between: list[LoggedAct] = []
    between_total: int = 0

    @classmethod
    def of(cls, found: RunDifference) -> Self:
        """Make the record of a difference; long values of the two runs are cut."""
        run, *others = _records([found.run] if found.other is None else [found.run, found.other])
        return cls(**msgspec.structs.asdict(found) | {"run": run, "other": others[0] if others else None})

    def difference(self) -> RunDifference:
        """Return the difference that the record describes."""
        other = self.other.execution() if self.other is not None else None
        return RunDifference(**msgspec.structs.asdict(self) | {"run": self.run.execution(), "other": other})


def _records(executions: Iterable[Execution]) -> list[Record]:
    return [Record.of(execution) for execution in brief_list(executions)]
