"""What is to come, on the wire: the fires of a period and the runs that they are expected to be."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Prospect = Literal["running", "run", "overlap", "closed", "skipped", "paused", "held"]
"""What is expected of a fire. `running` is a run of now; of the others only `run` means that the body runs."""


class ForecastRun(msgspec.Struct, kw_only=True):
    """One fire, and when its run is expected to end: about four of five end between `ends_low` and `ends_high`.

    A run that has to wait for the one before it `starts` later than it is due. The times are null for a fire without a
    run, and where too few runs have succeeded so far. `may_overlap`: the run before it may still run then. `waits_for`
    is the group in which it is expected to wait for a slot.
    """

    at: datetime
    outcome: Prospect
    starts: datetime | None = None
    ends_low: datetime | None = None
    ends: datetime | None = None
    ends_high: datetime | None = None
    may_overlap: bool = False
    waits_for: str | None = None
    detail: str | None = None


class ForecastJob(msgspec.Struct, kw_only=True):
    """The fires of one job; `cut` of them are only counted. `notes` say why they are less than certain.

    `interval_s` is set for a job that fires every minute or more often: the seconds between two of its fires.
    """

    job_id: str
    name: str
    paused: bool
    fires: int
    totals: dict[Prospect, int]
    runs: list[ForecastRun]
    cut: int
    notes: list[str]
    interval_s: float | None = None


class ForecastCut(msgspec.Struct):
    """What is left out: jobs that fire later than those shown, and fires that are only counted."""

    jobs: int
    fires: int


class Forecast(msgspec.Struct, kw_only=True):
    """The fires from `from` to `to`, as the schedules and the state of jobs are at `now`, the next ones first.

    `totals` counts what is expected of the fires of the jobs shown.
    """

    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    now: datetime
    jobs: list[ForecastJob]
    totals: dict[Prospect, int]
    cut: ForecastCut
