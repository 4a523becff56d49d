"""`gnomon cancel`: request that a run stops."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, reason_option, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.cli.access.reached_kernel import ReachedKernel
    from gnomon.domain.bulk_acts import ActOutcome, RunSelection
    from gnomon.domain.execution import Execution


@click.command("cancel")
@click.argument("execution_id", metavar="[ID]", required=False)
@click.option("--job", "job_id", metavar="JOB", help="All runs of this job that have not ended.")
@click.option("--tag", metavar="TAG", help="All runs of jobs with this tag that have not ended.")
@click.option("--query", metavar="QUERY", help='All that match and have not ended, such as "tag:etl late>1m by:otto".')
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one parameter for each option
    ctx: click.Context,
    execution_id: str | None,
    job_id: str | None,
    tag: str | None,
    query: str | None,
    reason: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Request that a run stops; one that has not started never will. `gnomon runs show ID` shows how it ended.

    ID may be the beginning of an id, as lists show it in a narrow terminal. With --job, --tag or --query, cancel all
    runs that match all of them: at most 1,000, or 10,000 with --query.
    """
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import execution_record, print_json
    from gnomon.domain.bulk_acts import RunSelection

    if (execution_id is None) == (job_id is None and tag is None and query is None):
        raise click.UsageError("give either the ID of a run, or --job, --tag or --query for several runs")
    kernel = reach(ctx, config, url)
    if execution_id is None:
        _cancel_all(kernel, RunSelection(job_id=job_id, tag=tag, query=query), reason, as_json=as_json)
        return
    execution = asyncio.run(_cancel(kernel, execution_id, reason))
    if as_json:
        print_json(execution_record(execution))
    else:
        echo(_sentence(execution))


def _cancel_all(kernel: ReachedKernel, selection: RunSelection, reason: str | None, *, as_json: bool) -> None:
    from gnomon.cli.output.outcomes import print_outcomes

    async def act() -> list[ActOutcome]:
        async with kernel:
            return await kernel.cancel_runs(selection, reason=reason)

    print_outcomes(asyncio.run(act()), "cancellation requested", "has ended", as_json=as_json)


async def _cancel(kernel: ReachedKernel, wanted: str, reason: str | None) -> Execution:
    from gnomon.cli.access.short_ids import find_run

    async with kernel:
        execution = await find_run(kernel, wanted)
        return await kernel.cancel(execution.id, reason=reason)


def _sentence(execution: Execution) -> str:
    run = f"{execution.id} of {execution.job_id}"
    if execution.status != "cancelled":
        return f"{run}: cancellation requested"
    return f"{run} is cancelled" if execution.runner else f"{run} is cancelled before it started"
