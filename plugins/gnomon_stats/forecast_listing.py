"""What several jobs of a forecast share: the slots of their groups, and the number of fires that are listed."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from gnomon.wire.forecast import ForecastJob, ForecastRun

OFTEN_S: Final = 60.0
"""Seconds between two fires of a job of which only the first is listed: its others are a rate."""


def wait_in_groups(jobs: Sequence[ForecastJob], group_of: Mapping[str, str], limits: Mapping[str, int]) -> None:
    """Move runs to the time of a free slot where their group is expected to be full.

    Runs without an expected end take no slot. Fires begin in their order, as they do where the jobs of a group have the
    same priority.
    """
    for group, limit in limits.items():
        members = [job for job in jobs if group_of.get(job.job_id) == group]
        runs = [run for job in members for run in job.runs if run.starts is not None and run.ends is not None]
        runs.sort(key=lambda run: (run.outcome != "running", run.starts))
        busy: list[datetime] = []
        for run in runs:
            _wait(run, group, limit, busy)
        if any(job.cut for job in members):
            for job in members:
                job.notes.append(f"the limit of its group {group!r} is looked at for the fires that are listed")


def _wait(run: ForecastRun, group: str, limit: int, busy: list[datetime]) -> None:
    """Move a run to the time when one of the busy slots is free; `busy` are the ends that are expected, as a heap."""
    assert run.starts is not None  # noqa: S101 - the caller has chosen those
    assert run.ends is not None  # noqa: S101
    ends = run.ends
    while busy and busy[0] <= run.starts:
        heapq.heappop(busy)
    if len(busy) >= limit and run.outcome == "run":
        moved = heapq.heappop(busy) - run.starts
        run.starts += moved
        run.ends = ends = ends + moved
        run.ends_low = run.ends_low and run.ends_low + moved
        run.ends_high = run.ends_high and run.ends_high + moved
        run.waits_for = group
        run.detail = run.detail or f"waits for one of the {limit} slots of the group {group!r}"
    heapq.heappush(busy, ends)


def list_first(jobs: Sequence[ForecastJob], most: int) -> None:
    """List only the first fires over all jobs, and of jobs that fire often only one; the others stay counted."""
    listed: list[tuple[datetime, int, ForecastRun]] = []
    for number, job in enumerate(jobs):
        fires = [run for run in job.runs if run.outcome != "running"]
        listed += [(run.at, number, run) for run in (fires[:1] if job.interval_s is not None else fires)]
    listed.sort(key=lambda one: one[:2])
    kept = {id(run) for _, _, run in listed[:most]}
    for job in jobs:
        before = len(job.runs)
        job.runs = [run for run in job.runs if run.outcome == "running" or id(run) in kept]
        job.cut += before - len(job.runs)
