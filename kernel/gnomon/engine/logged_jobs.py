"""The jobs as the log has them: what the leader serves, whatever the definitions of this process are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.errors import UnknownJobError
from gnomon.job_views import JobView
from gnomon.jobs.durable import restore_job
from gnomon.jobs.registered import RegisteredJob, own_job
from gnomon.text import close_match


class LoggedJobs:
    """Builds each job from its definition in the log, and keeps it until the definition changes.

    A job that this process defines in the same way is the one of this process, with its function.
    """

    def __init__(self, defined: Iterable[RegisteredJob]) -> None:
        self._defined = {registered.job.id: registered for registered in defined}
        self._built: dict[str, tuple[JobState, RegisteredJob]] = {}

    def of(self, states: Iterable[JobState]) -> Iterator[tuple[JobState, RegisteredJob]]:
        """Yield the jobs with these states, apart from removed ones."""
        for state in states:
            if not state.removed:
                yield state, self._job(state)

    def one(self, job_id: str, states: Iterable[JobState], known: Iterable[str]) -> tuple[JobState, RegisteredJob]:
        """Return the job with this state; UnknownJobError where there is none, which suggests one of the `known`."""
        for found in self.of(states):
            return found
        raise UnknownJobError(job_id, close_match(job_id, known))

    def defined(self, job_id: str) -> RegisteredJob | None:
        """Return the job that this process defines under an id."""
        return self._defined.get(job_id)

    @staticmethod
    def view(
        state: JobState,
        registered: RegisteredJob,
        unfinished: Iterable[Execution],
        *,
        next_fire: datetime | None,
        problem: str | None,
    ) -> JobView:
        """Return a job as the log alone shows it; `unfinished` are runs of any jobs, the newest first."""
        own = [execution for execution in unfinished if execution.job_id == registered.job.id]
        return JobView(
            job=own_job(registered.job),
            state=state,
            next_fire=next_fire,
            running=[execution.id for execution in own if execution.status == "running"],
            waiting=[execution.id for execution in reversed(own) if execution.status == "scheduled"],
            overrides=registered.body.overrides,
            origin=state.origin,
            source=registered.defined_by,
            problem=problem,
        )

    def _job(self, state: JobState) -> RegisteredJob:
        kept = self._built.get(state.job_id)
        if kept is not None and kept[0].definition == state.definition and kept[0].origin == state.origin:
            return kept[1]
        own = self._defined.get(state.job_id)
        if own is not None and state.origin != "api" and own.definition == state.definition:
            registered = own
        else:
            registered = restore_job(state.job_id, state.definition, self._defined.get)
            registered.origin = state.origin
        self._built[state.job_id] = (state, registered)
        return registered
