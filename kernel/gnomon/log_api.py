"""The part of `KernelApi` that is about the log: its events, what they explain, and what plugins keep in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Protocol

from gnomon.domain.audits import AuditReport
from gnomon.domain.events import Event, RecordedFact
from gnomon.domain.records import ActionPage, ActionQuery, Checkpoint, LogLine
from gnomon.domain.run_difference import LoggedAct, RunDifference
from gnomon.explanations import Explanation


class LogApi(Protocol):
    """Queries of the log, and what plugins write; see `gnomon.api.KernelApi` for what holds for all methods."""

    async def history(self, execution_id: str) -> list[Event]:
        """Return the events of one execution in order; UnknownExecutionError."""

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        """Return up to `limit` lines of a run, numbered above `after`; only its newest lines are kept."""

    async def explain(self, job_id: str, at: datetime | None = None, *, day: date | None = None) -> Explanation:
        """Explain from the log why a job ran, ran late or did not run at a time, or on a day. UnknownJobError.

        A time without an offset is in the job's zone, and one on a whole minute or second stands for the first fire
        within it. Without a time and a day it is about the last fire and the next one.
        """

    async def explain_run(self, execution_id: str) -> Explanation:
        """Explain one run with all its attempts, such as why it still waits in a queue; UnknownExecutionError."""

    async def audit(self, since: datetime, job_ids: Sequence[str] | None = None) -> AuditReport:
        """Prove from the log that every fire since a moment has exactly one outcome, for these jobs or for all.

        UnknownJobError; JobError where the log has more than 300,000 events since then.
        """

    async def job_changes(self, job_id: str) -> list[LoggedAct]:
        """Return when the definition of a job came, changed and went, oldest first, and who did it; UnknownJobError."""

    async def compare_run(self, execution_id: str, to: str | None = None) -> RunDifference:
        """Compare a run with the last success of its job before it, or with the run `to` of the same job.

        UnknownExecutionError; JobError for a run of another job.
        """

    async def events(self, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return up to `limit` events of the log with positions greater than `after`, in order."""

    async def actions(self, query: ActionQuery) -> ActionPage:
        """Return a page of operators' actions, newest first: what an actor other than the kernel did."""

    async def checkpoint(self, name: str) -> Checkpoint | None:
        """Return the checkpoint that a plugin saved under that name, or None."""

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint, *, replaces: int | None = None) -> bool:
        """Save a plugin's view together with the position up to which it is folded; return whether it was saved.

        One with a lower position than the saved one is not. Begin `name` with the plugin's name. A view that several
        processes change names the position that it `replaces`, 0 for none: it is not saved where that is another now.
        """

    async def claim(self, name: str, *, limit: int = 1, period_s: float, uses: int = 1) -> float:
        """Claim one of `limit` uses that a name has in a period, in all processes; return 0, or the seconds to wait.

        The kernel that leads counts in memory: the next one begins at zero. With `uses=0` it only looks.
        """

    async def record_fact(self, fact: type[RecordedFact], /, **facts: Any) -> int:
        """Record a login or a change of an alert, `record_fact(LoggedIn, actor="ann", ...)`; return its position."""
