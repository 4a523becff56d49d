"""`gnomon next`: show when a job is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, local_url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.analysis.upcoming import Upcoming
    from gnomon.domain.job_state import JobState
    from gnomon.jobs.job import Job
    from gnomon.ports import Store


@click.command("next")
@click.argument("job_id", metavar="JOB")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="Number of fires.")
@config_option
@local_url_option
@json_option
@click.pass_context
def command(ctx: click.Context, job_id: str, count: int, config: Path | None, url: str | None, as_json: bool) -> None:
    """Show when a job is due next, according to its definition and the log."""
    from gnomon.analysis.upcoming import state_of, upcoming
    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.output.json_output import print_json
    from gnomon.deployment.assembly import assemble
    from gnomon.scheduling.timezones import timezone_or_utc

    deployment = assemble(read_local_config(ctx, config, url, needs="the definition of the job"))
    states = asyncio.run(_states(deployment.store))
    state = states.get(job_id)
    job = deployment.job(job_id, states.values())
    found = upcoming(job, state, datetime.now(UTC), count)
    if as_json:
        zone = timezone_or_utc(job.timezone)
        fires = [fire.astimezone(zone) for fire in found.fires]
        print_json({"job_id": job_id, "state": state_of(job, state), "overdue": found.overdue, "next_fires": fires})
    else:
        _print(job, state, found)


async def _states(store: Store) -> dict[str, JobState]:
    from gnomon.cli.access.stored_log import open_log

    async with open_log(store) as log:
        return {state.job_id: state for state in await log.jobs()}


def _print(job: Job, state: JobState | None, found: Upcoming) -> None:
    from gnomon.jobs.job import explain_schedule
    from gnomon.scheduling.timezones import timezone_or_utc
    from gnomon.text import moment

    zone = timezone_or_utc(job.timezone)
    echo(f"{job.id}: {explain_schedule(job)}", err=True)
    if state is not None and state.paused:
        echo(f"paused by {state.paused_by or 'an unknown user'}: nothing is due until the job is resumed", err=True)
    if found.overdue is not None:
        echo(f"overdue since {moment(found.overdue, zone)}: no kernel has handled this fire yet", err=True)
    for fire in found.fires:
        echo(moment(fire, zone))
