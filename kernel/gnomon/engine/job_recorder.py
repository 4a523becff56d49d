"""Records what happens to jobs: the only writer of job_added, job_changed and job_removed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from gnomon.domain import events
from gnomon.domain.events import Origin
from gnomon.domain.job_state import JobState, anchor_at
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.kernel_hold import KernelHold
from gnomon.engine.launcher import Launcher
from gnomon.engine.timetable import Timetable
from gnomon.jobs.definition import rebuild_job
from gnomon.jobs.diff import is_rescheduled
from gnomon.jobs.registered import RegisteredJob
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.safe_text import safe_str, type_name
from gnomon.scheduling.catch_up import Absence, undecided

log = get_logger("gnomon.engine.job_recorder")


class Act(NamedTuple):
    """Who asked for a change, and why; `order` is a digest of the order with its idempotency key."""

    actor: str | None = None
    reason: str | None = None
    order: str | None = None


class Holding(NamedTuple):
    """To whom a job of origin api belongs, and whether it ends with the kernel."""

    owner: str | None = None
    temporary: bool = False


DEFINED = Holding()
"""The holding of jobs that are defined at the start."""


class JobRecorder:
    """Records the definitions of jobs. A schedule that ends is settled first: each of its fires gets an outcome."""

    def __init__(
        self, journal: Journal, clock: Clock, timetable: Timetable, launcher: Launcher, jobs: JobTable, hold: KernelHold
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._timetable = timetable
        self._launcher = launcher
        self._jobs = jobs
        self._hold = hold
        self._began = clock.now()

    def add(self, registered: RegisteredJob, act: Act, holding: Holding = DEFINED, at: datetime | None = None) -> None:
        """Record a job that is new, or that was removed before."""
        job_id, state = registered.job.id, self._journal.jobs.get(registered.job.id)
        at = at or self._clock.now()
        event = events.JobAdded(
            stream=events.job_stream(job_id),
            version=state.version + 1 if state is not None else 1,
            at=at,
            node=self._journal.node,
            job_id=job_id,
            actor=act.actor,
            by_kernel=act.actor == KERNEL,
            reason=act.reason,
            order=act.order,
            definition=registered.definition,
            anchor=anchor_at(state, at),
            origin=registered.origin,
            owner=holding.owner,
            temporary=holding.temporary,
        )
        self._journal.add(event)  # its definition is known to be JSON

    def change(
        self, registered: RegisteredJob, changes: dict[str, Any], act: Act, holding: Holding | None = None
    ) -> None:
        """Record the keys of a definition that differ, and a new origin, owner or end; None keeps the last two."""
        job_id = registered.job.id
        state = self._journal.jobs[job_id]
        origin: Origin | None = registered.origin if registered.origin != state.origin else None
        facts: dict[str, Any] = {}
        if holding is not None and holding != (state.owner, state.temporary):
            facts = {"owner": holding.owner or "", "temporary": holding.temporary}
        if not changes and not facts and origin is None:
            return
        rescheduled, at = is_rescheduled(changes, registered.definition), self._clock.now()
        if rescheduled:
            self._settle(job_id, at, "the schedule was changed before a kernel could run it", registered)
        self._journal.record(
            events.JobChanged,
            events.job_stream(job_id),
            job_id,
            at=at,
            actor=act.actor,
            reason=act.reason,
            order=act.order,
            changes=changes,
            rescheduled=rescheduled,
            anchor=anchor_at(self._journal.jobs[job_id], at) if rescheduled else None,
            origin=origin,
            **facts,
        )

    def remove(self, job_id: str, act: Act) -> None:
        """Record that a job is gone: runs that have not started are withdrawn, running bodies go on."""
        at = self._clock.now()
        self._settle(job_id, at, "the job was removed before a kernel could run it")
        self._launcher.withdraw_all(job_id, act.actor, "the job was removed")
        facts = {"actor": act.actor, "reason": act.reason, "order": act.order}
        self._journal.record(events.JobRemoved, events.job_stream(job_id), job_id, at=at, **facts)
        self._timetable.remove(job_id)

    def _settle(self, job_id: str, until: datetime, detail: str, new: RegisteredJob | None = None) -> None:
        """Record as missed the fires of an old schedule during a pause, or while no kernel ran.

        Up to the very time of the event that ends the schedule: a fire in between would have no outcome.
        """
        state, known = self._journal.jobs[job_id], self._jobs.get(job_id)
        # When a kernel starts, its table has the new jobs already, and the old ones are in the log only.
        # One that cannot be built has no trigger there, because of its function or arguments; the log has its schedule.
        is_old = known is not None and known is not new and known.origin == state.origin and known.problem is None
        old = known if known is not None and is_old else rebuild_job(state.definition)
        if state.problem is not None:
            detail = "the kernel held the job, which could not run"
        if old.job is not None and old.trigger is not None:
            try:
                missed = undecided(old.trigger, state, until, self._absence(state, until))
            except BaseException as exc:  # noqa: BLE001 - foreign code: a job whose trigger fails can still be changed
                problem = f"{type_name(exc)}: {safe_str(exc)}"
                log.error("trigger failed, fires up to its job's change are unknown", job=job_id, problem=problem)
                return
            is_held_back = (state.paused and state.problem is None) or self._hold.current is not None
            self._launcher.miss_ranges(old.job, missed, None if is_held_back else detail)

    def _absence(self, state: JobState, until: datetime) -> Absence:
        """Return what held the fires of a job back: a fire without an outcome was due before, or is due right now."""
        if state.paused:
            return Absence(paused_until=until)
        return Absence(held_until=until) if self._hold.current is not None else Absence(down_until=self._began)
