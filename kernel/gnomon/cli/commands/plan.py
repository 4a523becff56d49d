"""`gnomon plan`: what another config would change, before it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gnomon.cli.input.options import config_argument, config_option, json_option

if TYPE_CHECKING:
    from datetime import tzinfo

    from gnomon.analysis.plan import Fires, JobPlan, Plan
    from gnomon.deployment.assembly import Deployment

SIGNS = {"add": "+", "change": "~", "remove": "-", "keep": " "}


@click.command("plan")
@config_argument
@click.option("--days", type=click.FloatRange(0, 3660), default=7, show_default=True, help="How far to look ahead.")
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config_file: Path | None, days: float, config: Path | None, as_json: bool) -> None:
    """Tell what a config would change: jobs, their keys, and the fires that are gained and lost.

    It is compared with the log that the config names, as a reload or a start with it would do; nothing is changed.
    Ends with 2 where the config cannot be used.
    """
    from gnomon.cli.access.deployments import read_config
    from gnomon.cli.output.json_output import print_json
    from gnomon.cli.output.states import zone_of
    from gnomon.deployment.assembly import assemble

    deployment = assemble(read_config(ctx, config_file, config))
    found = asyncio.run(_plan(deployment, days))
    if as_json:
        print_json({"changes_nothing": found.changes_nothing} | msgspec.structs.asdict(found))
    else:
        zones = {job.id: zone_of(job.timezone) for job in deployment.jobs}
        _print(found, zones, zone_of(deployment.config.kernel.timezone), days)


async def _plan(deployment: Deployment, days: float) -> Plan:
    from gnomon.analysis.plan import plan
    from gnomon.cli.access.deployments import reading

    async with reading(deployment.store) as log:
        return plan(await log.jobs(), deployment.registered_jobs, datetime.now(UTC), days)


def _print(found: Plan, zones: Mapping[str, tzinfo], usual: tzinfo, days: float) -> None:
    """Print it, the times of each job in its zone; those of jobs that are to go in the usual one."""
    for job in found.jobs:
        click.echo(f"{SIGNS[job.action]} {job.job_id}{' (paused)' if job.is_paused else ''}")
        for line in _lines(job, zones.get(job.job_id, usual)):
            click.echo(f"    {line}")
    gained, lost = (sum(getattr(job, which).count for job in found.jobs) for which in ("gained", "lost"))
    summary = "the log knows all jobs as they are: nothing changes"
    if not found.changes_nothing:
        summary = (
            f"{len(found.of('add'))} to add, {len(found.of('change'))} to change, {len(found.of('remove'))} to remove; "
            f"in {days:g} day{'s' * (days != 1)} {gained:,} fires are gained and {lost:,} lost"
        )
    click.echo(summary, err=True)


def _lines(job: JobPlan, zone: tzinfo) -> Iterator[str]:
    from gnomon.text import moment

    for change in job.changes:
        yield f"{change.key}: {_value(change.old)} → {_value(change.new)}"
    if job.gained.count:
        yield f"gains {_fires(job.gained, zone)}"
    if job.lost.count:
        yield f"loses {_fires(job.lost, zone)}"
    if job.catch_up.count:
        yield f"catches up, as soon as a kernel keeps time: {_fires(job.catch_up, zone)}"
    for one in job.missed:
        span = moment(one.first, zone) if one.count == 1 else f"{moment(one.first, zone)} to {moment(one.last, zone)}"
        yield f"will record {one.count:,} as missed ({one.reason}): {span}"
    yield from job.notes


def _fires(fires: Fires, zone: tzinfo) -> str:
    from gnomon.text import moment

    more = ", …" if fires.count > len(fires.first) else ""
    shown = ", ".join(moment(fire, zone) for fire in fires.first)
    return f"{fires.count:,} fire{'s' * (fires.count != 1)}: {shown}{more}"


def _value(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
