"""`gnomon jobs`: every job as definitions and the log tell it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.options import config_option, json_option

if TYPE_CHECKING:
    from rich.text import Text

    from gnomon.deployment import Deployment
    from gnomon.execution import Execution
    from gnomon.job_state import JobState
    from gnomon.jobs import Job
    from gnomon.ports import Store

RUNNING = 1000
"""Runs that are looked at, at most, to find those that are going on."""


@click.command("jobs")
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, as_json: bool) -> None:
    """List the jobs: schedule, state, next fire, last run. Works beside a running kernel."""
    from gnomon.cli.deployments import read_config
    from gnomon.cli.json_output import print_json
    from gnomon.deployment import assemble

    deployment = assemble(read_config(ctx, config))
    found = asyncio.run(_look(deployment))
    if as_json:
        print_json(found)
    else:
        _print(found)


async def _look(deployment: Deployment) -> list[dict[str, Any]]:
    from gnomon.cli.deployments import reading
    from gnomon.ports import ExecutionQuery

    now = datetime.now(UTC)
    async with reading(deployment.store) as log:
        states = {state.job_id: state for state in await log.jobs()}
        going = (await log.executions(ExecutionQuery(status=("running",), limit=RUNNING))).items
        jobs = sorted(deployment.jobs, key=lambda job: job.id)
        last = {job.id: await _last_run(log, job.id) for job in jobs}
    running = {job.id: [execution.id for execution in going if execution.job_id == job.id] for job in jobs}
    return [summary(job, states.get(job.id), last[job.id], running[job.id], now) for job in jobs]


async def _last_run(log: Store, job_id: str) -> Execution | None:
    from gnomon.ports import ExecutionQuery

    page = await log.executions(ExecutionQuery(job_id=job_id, limit=1))
    return page.items[0] if page.items else None


def summary(
    job: Job, state: JobState | None, last_run: Execution | None, running: list[str], now: datetime
) -> dict[str, Any]:
    """Tell of one job what a list shows."""
    from gnomon.cli.upcoming import state_of, upcoming
    from gnomon.cli.wording import zone_of
    from gnomon.jobs import explain_schedule

    zone = zone_of(job.timezone)
    found = upcoming(job, state, now, 1)
    paused = state is not None and state.paused
    return {
        "id": job.id,
        "name": job.name,
        "display_name": (state.display_name if state else "") or job.name,
        "note": (state.note if state else "") or job.description,
        "tags": job.tags,
        "schedule": explain_schedule(job),
        "timezone": job.timezone,
        "state": state_of(job, state),
        "paused_by": state.paused_by if state and paused else None,
        "paused_why": state.paused_why if state and paused else None,
        "next_fire": found.fires[0].astimezone(zone) if found.fires else None,
        "overdue": found.overdue,
        "last_run": _brief(last_run) if last_run else None,
        "running": running,
    }


def _brief(execution: Execution) -> dict[str, Any]:
    names = ("id", "status", "timestamp", "execution_time", "reason")
    return {name: getattr(execution, name) for name in names}


def _print(found: list[dict[str, Any]]) -> None:
    from gnomon.cli.tables import Column, print_table

    columns = [
        Column("job", 12),
        Column("name", 12, 3),
        Column("state", 9),
        Column("next fire", 23, holds=True),
        Column("last run", 18),
        Column("running", 7, 1, right=True),
        Column("schedule", 16, 2),
    ]
    now = datetime.now(UTC)
    print_table(columns, [_row(job, now) for job in found])


def _row(job: dict[str, Any], now: datetime) -> tuple[str | Text, ...]:
    from rich.text import Text

    from gnomon.cli.wording import length, moment, style_of, with_glyph, zone_of

    last, state = job["last_run"], "overdue" if job["overdue"] else job["state"]
    by = f" by {job['paused_by']}" if job["paused_by"] else ""
    ran = Text("never")
    if last is not None:
        ago = length((now - last["timestamp"]).total_seconds())
        ran = Text(f"{with_glyph(last['status'])}, {ago} ago", style_of(last["status"]))
    return (
        job["id"],
        "" if job["display_name"] == job["id"] else job["display_name"],
        Text(f"{with_glyph(state)}{by}", style_of(state)),
        moment(job["next_fire"], zone_of(job["timezone"])),
        ran,
        str(len(job["running"]) or "-"),
        job["schedule"],
    )
