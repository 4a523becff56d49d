"""Changes jobs: the table of the kernel, the timetable and the job events of the log stay in step."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from gnomon.domain import events
from gnomon.domain.job_state import anchor_at
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.launcher import Launcher
from gnomon.engine.timetable import Timetable
from gnomon.errors import JobError
from gnomon.jobs.definition import rebuild_job
from gnomon.jobs.diff import JobsDiff, changed_keys, difference, is_rescheduled
from gnomon.jobs.registered import RegisteredJob
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.safe_text import safe_str, type_name
from gnomon.scheduling.catch_up import Absence, undecided

log = get_logger("gnomon.engine.job_registry")

LONGEST_TEXTS = {"display_name": 50, "note": 200}
"""The longest texts of operators, in characters: what is longer would not fit where frontends show it."""


class JobRegistry:
    """Adds, changes, pauses and removes jobs. The only writer of the table and of job events."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        timetable: Timetable,
        launcher: Launcher,
        jobs: JobTable,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._timetable = timetable
        self._launcher = launcher
        self._jobs = jobs

    def apply(self, jobs: Iterable[RegisteredJob], actor: str | None, reason: str) -> JobsDiff:
        """Replace all jobs with these, in one step: nothing else runs in between.

        The fires of a schedule that ends are settled first, so that each of them has an outcome.
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
            registered.definition = self._journal.jobs[job_id].definition  # shared: 450 bytes a job
        self._jobs.replace_all(wanted.values())
        return found

    def add(self, registered: RegisteredJob, actor: str | None, reason: str | None) -> None:
        """Add one job, or replace the definition of the one with its id."""
        job = registered.job
        state = self._journal.jobs.get(job.id)
        if state is None or state.removed:
            self._record_added(registered, self._clock.now(), actor, reason)
        elif changes := changed_keys(state.definition, registered.definition):
            self._record_changed(registered, changes, actor, reason)
        self._jobs.put(registered)
        self.enter(job.id)

    def remove(self, job_id: str, actor: str | None, reason: str | None) -> None:
        """Remove a job; its running bodies go on. UnknownJobError."""
        self._jobs.expect(job_id)
        self._remove(job_id, actor, reason)
        self._jobs.remove(job_id)

    def _remove(self, job_id: str, actor: str | None, reason: str | None) -> None:
        at = self._clock.now()
        self._settle(job_id, at, "the job was removed before a kernel could run it")
        self._launcher.withdraw_all(job_id, actor, "the job was removed")
        self._journal.record(events.JobRemoved, events.job_stream(job_id), job_id, at=at, actor=actor, reason=reason)
        self._timetable.remove(job_id)

    def pause(self, job_id: str, actor: str | None, reason: str | None) -> bool:
        """Pause a job; False where it is paused already. UnknownJobError."""
        self._jobs.expect(job_id)
        if self._is_paused(job_id):
            return False
        self._journal.record(events.JobPaused, events.job_stream(job_id), job_id, actor=actor, reason=reason)
        self._timetable.remove(job_id)
        return True

    def resume(self, job_id: str, actor: str | None, reason: str | None) -> bool:
        """Resume a job; False where it is not paused. Fires that were held back are decided now. UnknownJobError."""
        self._jobs.expect(job_id)
        if not self._is_paused(job_id):
            return False
        event = self._journal.record(events.JobResumed, events.job_stream(job_id), job_id, actor=actor, reason=reason)
        self.enter(job_id, Absence(paused_until=event.at))
        return True

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
        """Schedule a job in the timetable, unless it is paused or has no trigger."""
        registered, state = self._jobs[job_id], self._journal.jobs[job_id]
        if registered.trigger is not None and not state.paused:
            self._timetable.schedule(registered.job, registered.trigger, state, absence)
        else:
            self._timetable.remove(job_id)

    def _is_paused(self, job_id: str) -> bool:
        # A kernel that keeps no time does not record its jobs, so the log may not know this one.
        state = self._journal.jobs.get(job_id)
        return state is not None and state.paused

    def _record_added(self, registered: RegisteredJob, at: datetime, actor: str | None, reason: str | None) -> None:
        job_id, state = registered.job.id, self._journal.jobs.get(registered.job.id)
        event = events.JobAdded(
            stream=events.job_stream(job_id),
            version=state.version + 1 if state is not None else 1,
            at=at,
            node=self._journal.node,
            job_id=job_id,
            actor=actor,
            by_kernel=actor == KERNEL,
            reason=reason,
            definition=registered.definition,
            anchor=anchor_at(state, at),
        )
        self._journal.add(event)  # its definition is known to be JSON

    def _record_changed(
        self, registered: RegisteredJob, changes: dict[str, Any], actor: str | None, reason: str | None
    ) -> None:
        job_id = registered.job.id
        rescheduled, at = is_rescheduled(changes), self._clock.now()
        if rescheduled:
            self._settle(job_id, at, "the schedule was changed before a kernel could run it", registered)
        self._journal.record(
            events.JobChanged,
            events.job_stream(job_id),
            job_id,
            at=at,
            actor=actor,
            reason=reason,
            changes=changes,
            rescheduled=rescheduled,
            anchor=anchor_at(self._journal.jobs[job_id], at) if rescheduled else None,
        )

    def _settle(self, job_id: str, until: datetime, detail: str, new: RegisteredJob | None = None) -> None:
        """Record as missed the fires of an old schedule during a pause, or while no kernel ran.

        Up to the very time of the event that ends the schedule: a fire in between would have no outcome.
        """
        state, known = self._journal.jobs[job_id], self._jobs.get(job_id)
        # When a kernel starts, its table has the new jobs already, and the old ones are in the log only.
        old = known if known is not None and known is not new else rebuild_job(state.definition)
        if old.job is not None and old.trigger is not None:
            try:
                missed = undecided(old.trigger, state, until)
            except BaseException as exc:  # noqa: BLE001 - foreign code: a job whose trigger fails can still be changed
                problem = f"{type_name(exc)}: {safe_str(exc)}"
                log.error("trigger failed, fires up to its job's change are unknown", job=job_id, problem=problem)
                return
            self._launcher.miss_ranges(old.job, missed, None if state.paused else detail)


def _checked_text(job_id: str, name: str, text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_TEXTS[name]:
        raise JobError(f"job {job_id!r}: a {name} may have {LONGEST_TEXTS[name]} characters, got {len(text)}: {text!r}")
    return text
