"""`gnomon plan`: show what a config would change, without changing it."""

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
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from datetime import tzinfo

    from gnomon.analysis.plan import Fires, JobPlan, MovedFires, Plan
    from gnomon.deployment.assembly import Deployment

SIGNS = {"add": "+", "change": "~", "remove": "-", "keep": " "}


@click.command("plan")
@config_argument
@click.option("--days", type=click.FloatRange(0, 3660), default=7, show_default=True, help="Days to look ahead.")
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config_file: Path | None, days: float, config: Path | None, as_json: bool) -> None:
    """Show what a config would change: jobs, their keys, and the fires that are gained and lost.

    The config is compared with the log that it names, as a reload or a start would do. Exits with 2 if the config is
    not valid.
    """
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.output.json_output import print_json
    from gnomon.deployment.assembly import assemble
    from gnomon.scheduling.timezones import timezone_or_utc

    deployment = assemble(read_config(ctx, config_file, config))
    found = asyncio.run(_plan(deployment, days))
    if as_json:
        print_json({"changes_nothing": found.changes_nothing} | msgspec.structs.asdict(found))
    else:
        zones = {job.id: timezone_or_utc(job.timezone) for job in deployment.jobs}
        _print(found, zones, timezone_or_utc(deployment.config.kernel.timezone), days)


async def _plan(deployment: Deployment, days: float) -> Plan:
    from gnomon.analysis.plan import changed_groups, plan
    from gnomon.cli.access.stored_log import open_log
    from gnomon.stores.fire_samples import read_samples

    async with open_log(deployment.store) as log:
        samples = await read_samples(log)
        states = await log.jobs()
        now = datetime.now(UTC)
        found = plan(states, deployment.served_jobs(states), now, days, samples)
        if deployment.config.kernel.role == "follower":  # it never leads, so its groups limit nothing
            return found
        return msgspec.structs.replace(found, groups=await changed_groups(log, deployment.config.groups, now))


def _print(found: Plan, zones: Mapping[str, tzinfo], default: tzinfo, days: float) -> None:
    """Print the plan; times are in the zone of their job, or in the default zone for jobs to be removed."""
    for job in found.jobs:
        echo(f"{SIGNS[job.action]} {job.job_id}{' (paused)' if job.is_paused else ''}")
        for line in _lines(job, zones.get(job.job_id, default)):
            echo(f"    {line}")
    for group in found.groups:
        echo(f"group {group.key}: {_value(group.old)} → {_value(group.new)} at the next start")
    for upgrade in found.upgrades:
        echo(f"{upgrade.key}: {upgrade.old or 'nothing'} → {upgrade.new or 'nothing'} since the last kernel")
    gained, lost = (sum(getattr(job, which).count for job in found.jobs) for which in ("gained", "lost"))
    summary = "nothing changes: the log has the same jobs"
    if moved := sum(job.moved.count > 0 for job in found.jobs):
        summary = f"the log has the same jobs, and {moved} of them fire{'s' * (moved == 1)} at other times"
    if not found.changes_nothing:
        summary = (
            f"{len(found.of('add'))} to add, {len(found.of('change'))} to change, {len(found.of('remove'))} to remove; "
            f"{gained:,} fires gained and {lost:,} lost in {days:g} day{'s' * (days != 1)}"
        )
    echo(summary, err=True)


def _lines(job: JobPlan, zone: tzinfo) -> Iterator[str]:
    from gnomon.text import moment

    for change in job.changes:
        yield f"{change.key}: {_value(change.old)} → {_value(change.new)}"
    if job.gained.count:
        yield f"gains {_fires(job.gained, zone)}"
    if job.lost.count:
        yield f"loses {_fires(job.lost, zone)}"
    if job.moved.count:
        yield f"fires at other times with the present versions: {_moved(job.moved, zone)}"
    if job.catch_up.count:
        yield f"catches up when a kernel starts: {_fires(job.catch_up, zone)}"
    for one in job.missed:
        span = moment(one.first, zone) if one.count == 1 else f"{moment(one.first, zone)} to {moment(one.last, zone)}"
        yield f"will record {one.count:,} as missed ({one.reason}): {span}"
    yield from job.notes


def _moved(moved: MovedFires, zone: tzinfo) -> str:
    from gnomon.text import moment

    def when(fire: datetime | None) -> str:
        return moment(fire, zone) if fire is not None else "none"

    more = ", …" if moved.count > len(moved.first) else ""
    return ", ".join(f"{when(one.old)} → {when(one.new)}" for one in moved.first) + more


def _fires(fires: Fires, zone: tzinfo) -> str:
    from gnomon.text import moment

    more = ", …" if fires.count > len(fires.first) else ""
    shown = ", ".join(moment(fire, zone) for fire in fires.first)
    return f"{fires.count:,} fire{'s' * (fires.count != 1)}: {shown}{more}"


def _value(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
