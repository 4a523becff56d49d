"""Commands of operators that cross the control socket; see `KernelApi` for each."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gnomon.domain.bulk_acts import JobSelection, RunSelection


class Skip(msgspec.Struct, frozen=True, tag="skip"):
    """Skip one fire of a job, by default the next one, or withdraw that."""

    job_id: str
    fire: datetime | None = None
    undo: bool = False
    actor: str | None = None
    reason: str | None = None


class StartBackfill(msgspec.Struct, frozen=True, tag="backfill"):
    """Run a job for past fires of its schedule."""

    job_id: str
    since: datetime
    until: datetime
    overlap: bool = False
    rate: str | None = None
    rerun: bool = False
    actor: str | None = None
    reason: str | None = None


class StopBackfill(msgspec.Struct, frozen=True, tag="stop_backfill"):
    """Start no more runs of a backfill."""

    job_id: str
    actor: str | None = None
    reason: str | None = None


class SetHeld(msgspec.Struct, frozen=True, tag="hold"):
    """Hold back the fires of all jobs, or release them."""

    held: bool
    actor: str | None = None
    reason: str | None = None


class PauseJobs(msgspec.Struct, frozen=True, tag="pause_jobs"):
    """Pause many jobs, or resume them."""

    selection: JobSelection
    paused: bool
    actor: str | None = None
    reason: str | None = None


class CancelRuns(msgspec.Struct, frozen=True, tag="cancel_runs"):
    """Request that many runs stop."""

    selection: RunSelection
    actor: str | None = None
    reason: str | None = None


OperatorCommand = Skip | StartBackfill | StopBackfill | SetHeld | PauseJobs | CancelRuns
