"""`gnomon next`: when a job is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, local_url_option

if TYPE_CHECKING:
    from gnomon.analysis.upcoming import Upcoming
    from gnomon.domain.job_state import JobState
    from gnomon.jobs.job import Job
    from gnomon.ports import Store


@click.command("next")
@click.argument("job_id", metavar="JOB")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many fires.")
@config_option
@local_url_option
@json_option
@click.pass_context
def command(ctx: click.Context, job_id: str, count: int, config: Path | None, url: str | None, as_json: bool) -> None:
    """Show when a job is due next, counted from what the log says of it."""
    from gnomon.analysis.upcoming import state_of, upcoming
    from gnomon.cli.access.deployments import find_job
    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.output.json_output import print_json
    from gnomon.cli.output.states import zone_of
    from gnomon.deployment.assembly import assemble

    deployment = assemble(read_local_config(ctx, config, url, needs="the job's definition"))
    job = find_job(deployment, job_id)
    state = asyncio.run(_state(deployment.store, job_id))
    found = upcoming(job, state, datetime.now(UTC), count)
    if as_json:
        zone = zone_of(job.timezone)
        fires = [fire.astimezone(zone) for fire in found.fires]
        print_json({"job_id": job_id, "state": state_of(job, state), "overdue": found.overdue, "next_fires": fires})
    else:
        _print(job, state, found)


async def _state(store: Store, job_id: str) -> JobState | None:
    from gnomon.cli.access.deployments import reading

    async with reading(store) as log:
        return next((state for state in await log.jobs() if state.job_id == job_id), None)


def _print(job: Job, state: JobState | None, found: Upcoming) -> None:
    from gnomon.cli.output.states import zone_of
    from gnomon.jobs.job import explain_schedule
    from gnomon.text import moment

    zone = zone_of(job.timezone)
    click.echo(f"{job.id}: {explain_schedule(job)}", err=True)
    if state is not None and state.paused:
        click.echo(f"paused by {state.paused_by or 'somebody'}: nothing is due until it is resumed", err=True)
    if found.overdue is not None:
        click.echo(f"due since {moment(found.overdue, zone)}: no kernel has come to it yet", err=True)
    for fire in found.fires:
        click.echo(moment(fire, zone))
