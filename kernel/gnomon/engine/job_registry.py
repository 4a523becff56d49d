"""Keeps the jobs that are defined at the start: the table of the kernel, the timetable and the log stay in step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gnomon.domain import events
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.job_recorder import Act, JobRecorder
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.kernel_hold import KernelHold
from gnomon.engine.timetable import Timetable
from gnomon.errors import JobError
from gnomon.jobs.diff import JobsDiff, difference
from gnomon.jobs.durable import refuse_double
from gnomon.jobs.registered import RegisteredJob
from gnomon.ports import Clock
from gnomon.scheduling.catch_up import Absence

LONGEST_TEXTS = {"display_name": 50, "note": 200}
"""The longest texts of operators, in characters: what is longer would not fit where frontends show it."""


class JobRegistry:
    """Replaces the jobs of config, code and plugins; pauses, resumes and describes any job."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        timetable: Timetable,
        jobs: JobTable,
        recorder: JobRecorder,
        hold: KernelHold,
        on_entered: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._timetable = timetable
        self._jobs = jobs
        self._recorder = recorder
        self._on_entered = on_entered
        self._hold = hold

    def apply(self, jobs: Iterable[RegisteredJob], act: Act) -> JobsDiff:
        """Replace the jobs that config, code and plugins define with these, in one step: nothing runs in between.

        Jobs that were added at run time stay. JobExistsError where one of them has the id of a job that is defined.
        """
        wanted = {registered.job.id: registered for registered in jobs}
        known = self._journal.jobs
        for job_id in wanted:
            self._jobs.expect_own(job_id)
        refuse_double((known[job_id] for job_id in wanted if job_id in known), wanted)
        others = {"api", "attached"}
        defined = {job_id: state for job_id, state in known.items() if state.origin not in others or job_id in wanted}
        found = difference(defined, {job_id: registered.definition for job_id, registered in wanted.items()})
        for job_id in found.removed:
            self._recorder.remove(job_id, act)
        at = self._clock.now()
        for job_id in found.added:
            self._recorder.add(wanted[job_id], act, at=at)
        added = set(found.added)
        for job_id, registered in wanted.items():
            if job_id not in added:
                self._recorder.change(registered, found.changed.get(job_id, {}), act)
            registered.definition = known[job_id].definition  # shared: 450 bytes a job
        self._jobs.replace_defined(wanted.values())
        return found

    def pause(self, job_id: str, actor: str | None, reason: str | None) -> bool:
        """Pause a job; False where it is paused already. UnknownJobError."""
        self._jobs.expect(job_id)
        state = self._journal.jobs.get(job_id)
        if state is not None and state.paused and state.problem is None:
            return False
        self._journal.record(events.JobPaused, events.job_stream(job_id), job_id, actor=actor, reason=reason)
        self._timetable.remove(job_id)
        return True

    def resume(self, job_id: str, actor: str | None, reason: str | None) -> bool:
        """Resume a job; False where it is not paused. Fires that were held back are decided now. UnknownJobError."""
        registered = self._jobs[job_id]
        if not self._is_paused(job_id):
            return False
        if registered.problem is not None:
            raise JobError(f"job {job_id!r} cannot be resumed: {registered.problem}")
        event = self._journal.record(events.JobResumed, events.job_stream(job_id), job_id, actor=actor, reason=reason)
        self.enter(job_id, Absence(paused_until=event.at))
        return True

    def release(self, job_id: str) -> None:
        """Resume a job that the kernel held because it could not run, with the runs that it had accepted."""
        event = self._journal.record(
            events.JobResumed, events.job_stream(job_id), job_id, actor=KERNEL, reason="it can run again"
        )
        self.enter(job_id, Absence(paused_until=event.at))

    def describe(self, job_id: str, display_name: str | None, note: str | None, actor: str | None) -> bool:
        """Record an operator's texts for a job; None keeps the current one. False where nothing changes."""
        self._jobs.expect(job_id)
        given = {"display_name": display_name, "note": note}
        texts = {name: _checked_text(job_id, name, text) for name, text in given.items() if text is not None}
        state = self._journal.jobs.get(job_id)
        new = {name: text for name, text in texts.items() if text != (getattr(state, name) if state else "")}
        if not new:
            return False
        payload: dict[str, Any] = {"actor": actor, **new}
        self._journal.record(events.JobDescribed, events.job_stream(job_id), job_id, **payload)
        return True

    def enter(self, job_id: str, absence: Absence | None = None) -> None:
        """Schedule a job in the timetable, unless it is paused, has no trigger, or all fires are held."""
        registered, state = self._jobs[job_id], self._journal.jobs[job_id]
        may_fire = self._hold.current is None and not state.paused and registered.problem is None
        if registered.trigger is not None and may_fire:
            self._timetable.schedule(registered.job, registered.trigger, state, absence)
            self._on_entered(job_id)
        else:
            self._timetable.remove(job_id)

    def _is_paused(self, job_id: str) -> bool:
        # A kernel that keeps no time does not record its jobs, so the log may not know this one.
        state = self._journal.jobs.get(job_id)
        return state is not None and state.paused


def _checked_text(job_id: str, name: str, text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_TEXTS[name]:
        raise JobError(f"job {job_id!r}: a {name} may have {LONGEST_TEXTS[name]} characters, got {len(text)}: {text!r}")
    return text
