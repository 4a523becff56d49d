"""Runs the jobs with `at_start` once, when a kernel starts to keep time."""

from __future__ import annotations

from typing import Any

from gnomon.domain.execution import manual_execution_id
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.launcher import Launcher
from gnomon.ports import Clock


async def run_at_start(jobs: JobTable, journal: Journal, launcher: Launcher, clock: Clock) -> None:
    """Accept one run of each job with `at_start` that is not paused.

    Guards may veto it, and an overlap makes it wait, as for a manual run. A run that an earlier kernel accepted at its
    own start, and that has not started since, stands for this one: a kernel that starts again and again does not pile
    them up.
    """
    waiting = {one.job_id for one in journal.live.values() if one.cause == "at_start" and one.status == "scheduled"}
    for registered in list(jobs):
        job = registered.job
        if not job.at_start or job.id in waiting or journal.jobs[job.id].paused:
            continue
        facts: dict[str, Any] = {"args": job.args, "kwargs": job.kwargs, "actor": None, "cause": "at_start"}
        now = clock.now()
        vetoes = await launcher.vetoes([job], now)
        launcher.trigger(job, manual_execution_id(job.id, now), now, vetoes.get((job.id, now)), force=False, **facts)
