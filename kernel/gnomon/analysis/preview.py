"""What an order about one job would do, computed beforehand: its problems, its next fires, and what a plan says.

Every figure is bounded. A schedule that fires more often than `MOST_FIRES` times in the period, or whose fires take
longer than `BUDGET_S` to compute, is looked at for a shorter period, which the preview names.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec

from gnomon.analysis.plan import Fires, compare_fires
from gnomon.analysis.upcoming import upcoming
from gnomon.conversion import Table
from gnomon.domain.job_preview import FireCount, JobPreview, KeyChange, KeyProblem
from gnomon.domain.job_state import JobState
from gnomon.domain.secret_references import masked_like
from gnomon.errors import GnomonError, JobKeysError
from gnomon.jobs.definition import rebuild_job
from gnomon.jobs.diff import changed_keys, is_rescheduled
from gnomon.jobs.ended_schedules import expect_fires, find_end
from gnomon.jobs.job import Job, explain_schedule
from gnomon.jobs.job_draft import JobDraft, OrderRules, draft_job
from gnomon.jobs.registered import RegisteredJob
from gnomon.safe_text import safe_str, type_name
from gnomon.scheduling.catch_up import next_fire
from gnomon.scheduling.triggers import AnchoredTrigger, is_predictable
from gnomon.text import shorten

DAYS = 7.0
NEXT_FIRES = 10
MOST_FIRES = 20_000
BUDGET_S = 1.0
LONGEST_SCHEDULE = 1_000
"""Characters of the schedule in words."""


def preview(
    table: Table, rules: OrderRules, state: JobState | None, now: datetime, *, days: float = DAYS
) -> tuple[JobPreview, JobDraft]:
    """Return what a job's keys would do to the job with that id, whose state in the log is `state`; and their check."""
    present = state.definition if state is not None and not state.removed else None
    draft = draft_job(table, rules, present)
    given = table.get("id")
    found = JobPreview(id=given if isinstance(given, str) else None, problems=draft.problems, warnings=draft.warnings)
    if draft.registered is not None:
        try:
            _look_ahead(found, draft.registered, state, now, days)
        except (GnomonError, ArithmeticError, ValueError) as exc:  # what a trigger raises where it is asked for a fire
            text = str(exc) if isinstance(exc, GnomonError) else f"{type_name(exc)}: {safe_str(exc)}"
            found.problems.append(KeyProblem(draft.registered.job.schedule_key or "", f"has no next fire: {text}"))
            draft.registered = None
    if found.problems:
        draft.registered = None
    found.ok = not found.problems
    return found, draft


def _look_ahead(
    found: JobPreview, registered: RegisteredJob, state: JobState | None, now: datetime, days: float
) -> None:
    job, trigger = registered.job, registered.trigger
    known = state if state is not None and not state.removed else None
    changes = changed_keys(known.definition, registered.definition) if known is not None else {}
    found.action = "add" if known is None else "change" if changes else "keep"
    found.schedule, found.timezone = shorten(explain_schedule(job), LONGEST_SCHEDULE), job.timezone
    found.paused = known.paused if known is not None else job.paused
    if known is not None:
        old = known.definition
        found.changes = [KeyChange(key, masked_like(old.get(key), new), new) for key, new in changes.items()]
    _add_next_fires(found, job, known, now)
    if known is None or is_rescheduled(changes, registered.definition):
        _note_end(found, job, trigger, now)
        _count_fires(found, trigger, known, state, now, now + timedelta(days=days))
    else:
        found.until = now + timedelta(days=days)


def _add_next_fires(found: JobPreview, job: Job, known: JobState | None, now: datetime) -> None:
    """Add the next fires of a job as if it were not paused, and the past one that would run at once."""
    active = msgspec.structs.replace(job, paused=False)
    state = msgspec.structs.replace(known, paused=False) if known is not None else None
    coming = upcoming(active, state, now, NEXT_FIRES)
    found.next_run_times = coming.fires


def _note_end(found: JobPreview, job: Job, trigger: AnchoredTrigger | None, now: datetime) -> None:
    """Add what is wrong with a schedule without a fire to come; a new job that would never run is a problem."""
    if found.action == "add":
        try:
            expect_fires(job, trigger, now)
        except JobKeysError as exc:
            found.problems += [KeyProblem(*problem) for problem in exc.problems]
            return
    if (end := find_end(job, trigger, now)) is not None:
        how = "does not run" if job.catch_up == "none" else "runs at once"
        text = f"{end.text}: with this `catch_up` it {how}" if end.overdue is not None else end.text
        found.warnings.append(KeyProblem(end.key, text))


def _count_fires(
    found: JobPreview,
    trigger: AnchoredTrigger | None,
    known: JobState | None,
    state: JobState | None,
    now: datetime,
    until: datetime,
) -> None:
    """Count the fires that the new schedule gains and the old one loses."""
    old, old_anchor = None, now
    if known is not None:
        rebuilt = rebuild_job(known.definition)
        old, old_anchor = rebuilt.trigger, known.anchor
        if rebuilt.problem is not None:
            found.notes.append(f"the lost fires of the old schedule are not known: {rebuilt.problem}")
            old = None
    newest = state.newest_fire if state is not None else None
    begin = max(now, newest or now)
    if trigger is not None and not is_predictable(trigger):
        found.notes.append(f"the new schedule is random ({trigger}): its fires are an example")
    deadline = time.monotonic() + BUDGET_S
    horizon = until
    for one, anchor in ((trigger, begin), (old, old_anchor)):
        if one is not None:
            horizon = _horizon(_future(one, anchor, now, horizon), horizon, deadline)
    if horizon < until:
        found.notes.append("the schedule fires too often to look 7 days ahead: its fires are counted up to `until`")
    lost, gained = Fires(), Fires()
    compare_fires(_fires(old, old_anchor, now, horizon), _fires(trigger, begin, now, horizon), lost, gained)
    found.lost, found.gained = FireCount(lost.count, lost.first), FireCount(gained.count, gained.first)
    found.until = horizon


def _horizon(future: Iterable[datetime], until: datetime, deadline: float) -> datetime:
    """Return the time up to which the fires of a schedule can be counted, at most `until`."""
    for n, fire in enumerate(future):
        if n == MOST_FIRES or time.monotonic() > deadline:
            return fire
    return until


def _fires(trigger: AnchoredTrigger | None, anchor: datetime, now: datetime, until: datetime) -> Iterator[datetime]:
    return iter(()) if trigger is None else _future(trigger, anchor, now, until)


def _future(trigger: AnchoredTrigger, anchor: datetime, now: datetime, until: datetime) -> Iterator[datetime]:
    """Iterate over the fires after now; a schedule that begins later begins at its anchor."""
    fire = trigger.fire_after(max(now, anchor), anchor)
    while fire is not None and fire <= until:
        yield fire
        fire = next_fire(trigger, fire, anchor)
