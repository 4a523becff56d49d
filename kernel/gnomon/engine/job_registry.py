"""The jobs that a kernel serves: what the log knows of them and what their definitions say, brought together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import structlog

from gnomon.domain import events
from gnomon.engine.journal import Journal
from gnomon.engine.launcher import Launcher
from gnomon.engine.timetable import Timetable
from gnomon.errors import JobError, UnknownJobError
from gnomon.jobs.definition import rebuild_job
from gnomon.jobs.diff import JobsDiff, changed_keys, difference, is_rescheduled
from gnomon.jobs.registered import RegisteredJob
from gnomon.ports import Clock
from gnomon.scheduling.catch_up import Absence, undecided
from gnomon.text import close_match

log = structlog.stdlib.get_logger("gnomon.engine.job_registry")

LONGEST_WORDS = {"display_name": 50, "note": 200}
"""Characters of what an operator may call a job and say of it."""


class JobRegistry:
    """Keeps registered jobs, the timetable and the job events of the log in step."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        timetable: Timetable,
        launcher: Launcher,
        jobs: dict[str, RegisteredJob],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._timetable = timetable
        self._launcher = launcher
        self._jobs = jobs

    def apply(self, jobs: Iterable[RegisteredJob], actor: str | None, reason: str) -> JobsDiff:
        """Put these definitions in place of all there are, in one go: nothing else runs in between.

        Fires of a schedule that goes away are settled first, so that none is left without an outcome.
        """
        wanted = {registered.job.id: registered for registered in jobs}
        found = difference(self._journal.jobs, {job_id: registered.definition for job_id, registered in wanted.items()})
        for job_id in found.removed:
            self._remove(job_id, actor, reason)
        at = self._clock.now()
        for job_id in found.added:
            self._record_added(wanted[job_id], at, actor, reason)
        for job_id, changes in found.changed.items():
            self._record_changed(wanted[job_id], changes, actor, reason)
        for job_id, registered in wanted.items():
            registered.definition = self._journal.jobs[job_id].definition  # one for both: 450 bytes a job
        self._jobs.clear()
        self._jobs.update(wanted)
        return found

    def add(self, registered: RegisteredJob, actor: str | None, reason: str | None) -> None:
        """Add one job, or put a new definition in place of the one with its id."""
        job = registered.job
        state = self._journal.jobs.get(job.id)
        if state is None or state.removed:
            self._record_added(registered, self._clock.now(), actor, reason)
        elif changes := changed_keys(state.definition, registered.definition):
            self._record_changed(registered, changes, actor, reason)
        self._jobs[job.id] = registered
        self.enter(job.id)

    def remove(self, job_id: str, actor: str | None, reason: str | None) -> None:
        """Take a job away; runs that are going on go on."""
        self.get(job_id)
        self._remove(job_id, actor, reason)
        del self._jobs[job_id]

    def _remove(self, job_id: str, actor: str | None, reason: str | None) -> None:
        at = self._clock.now()
        self._settle(job_id, at, "the job was removed before a kernel came to it")
        self._launcher.withdraw_all(job_id, actor, "the job was removed")
        self._journal.record(events.JobRemoved, events.job_stream(job_id), job_id, at=at, actor=actor, reason=reason)
        self._timetable.take(job_id)

    def pause(self, job_id: str, actor: str | None, reason: str | None) -> bool:
        """Hold the fires of a job back; False where it is paused already."""
        self.get(job_id)
        if self._is_paused(job_id):
            return False
        self._journal.record(events.JobPaused, events.job_stream(job_id), job_id, actor=actor, reason=reason)
        self._timetable.take(job_id)
        return True

    def resume(self, job_id: str, actor: str | None, reason: str | None) -> bool:
        """Let a job fire again; False where it is not paused. Held back fires get their outcome now."""
        self.get(job_id)
        if not self._is_paused(job_id):
            return False
        event = self._journal.record(events.JobResumed, events.job_stream(job_id), job_id, actor=actor, reason=reason)
        self.enter(job_id, Absence(paused_until=event.at))
        return True

    def describe(self, job_id: str, display_name: str | None, note: str | None, actor: str | None) -> bool:
        """Keep an operator's words for a job; None leaves what there is. False where they are the same already."""
        self.get(job_id)
        told = {"display_name": display_name, "note": note}
        words = {name: _words(job_id, name, text) for name, text in told.items() if text is not None}
        state = self._journal.jobs.get(job_id)
        new = {name: text for name, text in words.items() if text != (getattr(state, name) if state else "")}
        if not new:
            return False
        payload: dict[str, Any] = {"actor": actor, **new}
        self._journal.record(events.JobDescribed, events.job_stream(job_id), job_id, **payload)
        return True

    def enter(self, job_id: str, absence: Absence | None = None) -> None:
        """Put a job that is neither paused nor without a schedule into the timetable."""
        registered, state = self._jobs[job_id], self._journal.jobs[job_id]
        if registered.trigger is not None and not state.paused:
            self._timetable.put(registered.job, registered.trigger, state, absence)
        else:
            self._timetable.take(job_id)

    def _is_paused(self, job_id: str) -> bool:
        # A kernel that keeps no time does not tell the log of its jobs, so the log may not know one.
        state = self._journal.jobs.get(job_id)
        return state is not None and state.paused

    def get(self, job_id: str) -> RegisteredJob:
        """Return a job; UnknownJobError names one that is spelled nearly so."""
        if (registered := self._jobs.get(job_id)) is None:
            raise UnknownJobError(job_id, close_match(job_id, self._jobs))
        return registered

    def _record_added(self, registered: RegisteredJob, at: datetime, actor: str | None, reason: str | None) -> None:
        job_id, state = registered.job.id, self._journal.jobs.get(registered.job.id)
        event = events.JobAdded(
            stream=events.job_stream(job_id),
            version=state.version + 1 if state is not None else 1,
            at=at,
            node=self._journal.node,
            job_id=job_id,
            actor=actor,
            reason=reason,
            definition=registered.definition,
        )
        self._journal.add(event)  # its definition has been written as JSON before

    def _record_changed(
        self, registered: RegisteredJob, changes: dict[str, Any], actor: str | None, reason: str | None
    ) -> None:
        job_id = registered.job.id
        rescheduled, at = is_rescheduled(changes), self._clock.now()
        if rescheduled:
            self._settle(job_id, at, "the schedule was changed before a kernel came to it", registered)
        self._journal.record(
            events.JobChanged,
            events.job_stream(job_id),
            job_id,
            at=at,
            actor=actor,
            reason=reason,
            changes=changes,
            rescheduled=rescheduled,
        )

    def _settle(self, job_id: str, until: datetime, detail: str, new: RegisteredJob | None = None) -> None:
        """Record the fires as missed that an old schedule named during a pause, or while no kernel was there.

        Up to the very moment of the event that ends the schedule: a fire in between would have no outcome.
        """
        state, known = self._journal.jobs[job_id], self._jobs.get(job_id)
        # When a kernel starts, the jobs that it knows are the new ones already, and the old ones are in the log only.
        old = known if known is not None and known is not new else rebuild_job(state.definition)
        if old.job is not None and old.trigger is not None:
            missed = undecided(old.trigger, state, until)
            self._launcher.miss_ranges(old.job, missed, None if state.paused else detail)


def _words(job_id: str, name: str, text: str) -> str:
    """Check an operator's words for a job: what is longer would not fit where frontends show it."""
    text = text.strip()
    if len(text) > LONGEST_WORDS[name]:
        raise JobError(
            f"job {job_id!r}: the {name} may have {LONGEST_WORDS[name]} characters, this one has {len(text)}: {text!r}"
        )
    return text
