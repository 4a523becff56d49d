"""`gnomon pause`: pause a job."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import config_option, json_option, reason_option, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.cli.access.reached_kernel import ReachedKernel


@click.command("pause")
@click.argument("job_id", metavar="[JOB]", required=False)
@click.option("--tag", metavar="TAG", help="All jobs with this tag.")
@click.option("-q", "--search", metavar="TEXT", help="All jobs with this text in their id, name or description.")
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Pause a job: hold back its fires until it is resumed, also across restarts. Its current runs continue.

    With --tag or -q, pause all jobs that match both, at most 1,000.
    """
    set_paused(ctx, paused=True, **given)


def set_paused(  # noqa: PLR0913 - what may be given on the command line
    ctx: click.Context,
    *,
    job_id: str | None,
    tag: str | None,
    search: str | None,
    config: Path | None,
    url: str | None,
    paused: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Pause or resume a job or several ones, and print whether that changed anything."""
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json

    if (job_id is None) == (tag is None and search is None):
        raise click.UsageError("give either a JOB, or --tag or -q for several jobs")
    kernel = reach(ctx, config, url)
    if job_id is None:
        set_all_paused(kernel, tag, search, paused=paused, reason=reason, as_json=as_json)
        return

    async def change() -> bool:
        async with kernel:
            return await (kernel.pause if paused else kernel.resume)(job_id, reason=reason)

    changed = asyncio.run(change())
    if as_json:
        print_json({"job_id": job_id, "paused": paused, "changed": changed})
    elif paused:
        echo(f"{job_id} is paused" if changed else f"{job_id} was already paused")
    else:
        echo(f"{job_id} is resumed" if changed else f"{job_id} was not paused")


def set_all_paused(
    kernel: ReachedKernel, tag: str | None, search: str | None, *, paused: bool, reason: str | None, as_json: bool
) -> None:
    """Pause or resume all jobs that match, and print what came of each."""
    from gnomon.cli.output.outcomes import print_outcomes
    from gnomon.domain.bulk_acts import ActOutcome, JobSelection

    async def change() -> list[ActOutcome]:
        async with kernel:
            return await kernel.set_all_paused(JobSelection(tag=tag, q=search), paused=paused, reason=reason)

    outcomes = asyncio.run(change())
    words = ("paused", "was already paused") if paused else ("resumed", "was not paused")
    print_outcomes(outcomes, *words, as_json=as_json)
