"""What follows from some events of the log: the views, ends of streams and acts that are filed behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Self

import msgspec

from gnomon.domain.events import Event, ExecutionEvent
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.operator_actions import action_of
from gnomon.domain.records import Action
from gnomon.stores.commit_rows import End


class ViewBatch(msgspec.Struct):
    """The views of events from position `first` to `last`, each as it is after the last of them; several can be merged.

    `ends` has each stream with one of these events, `began` the position of the first event of those that begin with
    one. `lasting` are the positions of events that do not belong to a run: they stay when runs are deleted. `acts` have
    the positions of their events. `since` and `until` are the times of the first and of the last event.
    """

    first: int = 0
    last: int = 0
    since: datetime | None = None
    until: datetime | None = None
    ends: dict[str, End] = {}
    began: dict[str, int] = {}
    executions: dict[str, Execution] = {}
    jobs: dict[str, JobState] = {}
    acts: list[tuple[int, Action]] = []
    lasting: list[int] = []

    @classmethod
    def of(cls, events: Sequence[Event], executions: Iterable[Execution], jobs: Iterable[JobState]) -> Self:
        """Return what follows from events; the views may not be changed afterwards."""
        if not events:
            return cls()
        return cls(
            first=events[0].position,
            last=events[-1].position,
            since=events[0].at,
            until=events[-1].at,
            ends={event.stream: (event.version, event.position) for event in events},
            began={event.stream: event.position for event in events if event.version == 1},
            executions={view.id: view for view in executions},
            jobs={state.job_id: state for state in jobs},
            acts=[(event.position, act) for event in events if (act := action_of(event)) is not None],
            lasting=[event.position for event in events if not isinstance(event, ExecutionEvent)],
        )

    def add(self, later: Self) -> None:
        """Add what follows from the events right behind these; its views replace the older ones."""
        if not later.last:
            return
        if not self.last:
            self.first, self.since = later.first, later.since
        self.last, self.until = later.last, later.until
        self.ends |= later.ends
        self.began = later.began | self.began
        self.executions |= later.executions
        self.jobs |= later.jobs
        self.acts += later.acts
        self.lasting += later.lasting
