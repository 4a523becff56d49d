"""`gnomon backfill`: run a job for past fires of its schedule."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import click

from gnomon.cli.input.options import config_option, json_option, reason_option, url_option
from gnomon.cli.output.console import echo

TIME = "TIME"


@click.command("backfill")
@click.argument("job_id", metavar="JOB")
@click.option("--from", "since", metavar=TIME, help="The first time; without an offset in the zone of the job.")
@click.option("--to", "until", metavar=TIME, help="The last time, which must be past.")
@click.option("--overlap", is_flag=True, help="As many runs at once as the job allows; by default one after the other.")
@click.option("--limit", "rate", metavar="RATE", help="How many runs start in a time, such as 10/m.")
@click.option("--rerun", is_flag=True, help="Run also for times that have a success.")
@click.option("--stop", is_flag=True, help="Start no more runs of the backfill that is running.")
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def command(  # noqa: PLR0913 - what may be given on the command line
    ctx: click.Context,
    /,
    *,
    job_id: str,
    since: str | None,
    until: str | None,
    overlap: bool,
    rate: str | None,
    rerun: bool,
    stop: bool,
    reason: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Run a job once for each past fire of its schedule that has no success, oldest first.

    The kernel makes the runs, and goes on after a restart. Each has the time of its fire and the cause `backfill`.
    """
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json

    if stop == (since is not None or until is not None) or (since is None) != (until is None):
        raise click.UsageError("give --from and --to, or --stop")
    kernel = reach(ctx, config, url)

    async def act() -> int:
        async with kernel:
            if since is None or until is None:
                return await kernel.stop_backfill(job_id, reason=reason)
            first, last = _read_time(since, "--from"), _read_time(until, "--to")
            return await kernel.backfill(job_id, first, last, overlap=overlap, rate=rate, rerun=rerun, reason=reason)

    found = asyncio.run(act())
    if stop:
        if as_json:
            print_json({"job_id": job_id, "stopped": bool(found)})
        else:
            echo(f"{job_id}: the backfill is stopped" if found else f"{job_id} has no backfill")
    elif as_json:
        print_json({"job_id": job_id, "fires": found})
    else:
        echo(f"{job_id}: the backfill of {found:,} fire{'s' * (found != 1)} has begun")


def _read_time(text: str, option: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as exc:
        expected = "expected a time such as 2026-12-01T18:00, with or without an offset"
        raise click.BadParameter(f"{expected}, got {text!r}", param_hint=option) from exc
