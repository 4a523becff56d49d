"""`gnomon history`: what operators did."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from gnomon.cli.input.options import config_option, json_option, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from datetime import tzinfo

    from gnomon.cli.access.reached_kernel import ReachedKernel
    from gnomon.domain.records import ActionPage, ActionQuery


@click.command("history")
@click.argument("job_id", metavar="[JOB]", required=False)
@click.option("--status", type=click.Choice(("success", "failed")), help="Only those that succeeded, or failed.")
@click.option("--action", help="Only this action, such as `pause`.")
@click.option("--actor", help="Only what this operator did.")
@click.option("--since", metavar="WHEN", help='Only since a duration ago such as "2h", or an ISO 8601 time.')
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, help="Skip this many of the newest.")
@config_option
@url_option
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one parameter for each option
    ctx: click.Context,
    job_id: str | None,
    status: Literal["success", "failed"] | None,
    action: str | None,
    actor: str | None,
    since: str | None,
    limit: int,
    offset: int,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """List what operators did to one job or to all, newest first, with or without a running kernel.

    The list is read from the log. Acts that were refused are in it as failed; of many in a minute only the first ones.
    """
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.input.times import parse_past_time
    from gnomon.cli.output.json_output import print_json
    from gnomon.domain.records import ActionQuery

    kernel = reach(ctx, config, url)
    query = ActionQuery(
        job_id=job_id,
        status=status,
        action=action,
        actor=actor,
        since=parse_past_time(since, kernel.zone, "--since") if since else None,
        limit=limit,
        offset=offset,
    )
    page = asyncio.run(_read(kernel, query))
    if as_json:
        print_json({"items": [msgspec.structs.asdict(action) for action in page.items], "total": page.total})
    elif not page.total and not _has_filters(query):
        echo("No actions yet.")
    else:
        _print(page, kernel.zone)


async def _read(kernel: ReachedKernel, query: ActionQuery) -> ActionPage:
    from gnomon.cli.access.empty_lists import why_empty

    async with kernel:
        page = await kernel.actions(query)
        if not page.total and _has_filters(query):
            echo(await why_empty(kernel, "action", query.job_id), err=True)
        return page


def _has_filters(query: ActionQuery) -> bool:
    return any((query.job_id, query.status, query.action, query.actor, query.since))


def _print(page: ActionPage, zone: tzinfo | None) -> None:
    if not page.total:
        return
    from rich.text import Text

    from gnomon.cli.output.states import style_of
    from gnomon.cli.output.tables import Column, print_table
    from gnomon.text import moment

    columns = [
        Column("when", 23, no_wrap=True),
        Column("who", 8, 1),
        Column("did", 11),
        Column("job", 12),
        Column("run", 24, 3, no_wrap=True),
        Column("reason", 16, 2),
    ]
    rows = [
        (
            moment(action.at, zone, seconds=True),
            action.actor,
            Text(action.action + (" (failed)" if action.status == "failed" else ""), style_of(action.status)),
            action.job_id or "-",
            action.execution_id or "-",
            action.error_message or action.detail or "-",
        )
        for action in page.items
    ]
    print_table(columns, rows)
    if len(page.items) < page.total:
        echo(f"{len(page.items)} of {page.total}; --limit and --offset show more", err=True)
