"""`gnomon runs`: list runs; subcommands show one, its log lines, where it is in its code, or what happens now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, label_option, outer_options, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from rich.text import Text

    from gnomon.cli.access.reached_kernel import ReachedKernel
    from gnomon.domain.body_sample import BodySample
    from gnomon.domain.events import Event
    from gnomon.domain.execution import Execution, Status
    from gnomon.domain.records import ExecutionQuery, Page
    from gnomon.domain.run_sorting import RunSort

STATUSES = ("scheduled", "running", "success", "failed", "missed", "cancelled")
"""`domain.execution.STATUSES` again: importing it would slow every command down."""


@click.group("runs", invoke_without_command=True)
@click.option("--job", "job_id", metavar="JOB", help="Only runs of this job.")
@click.option(
    "--status", multiple=True, type=click.Choice(STATUSES), help="Only runs with this status; may be repeated."
)
@label_option("Only runs with this label; with all of them, if repeated.")
@click.option("--since", metavar="WHEN", help='Only runs since a duration ago such as "2h", or an ISO 8601 time.')
@click.option("--query", metavar="QUERY", help='Such as "tag:etl status:failed late>1m by:otto since:-7d".')
@click.option("--sort", metavar="COLUMN", help='Such as "-late": started, job, status, duration, late, progress, by.')
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", metavar="CURSOR", help="Continue after the previous page.")
@config_option
@url_option
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one parameter for each option
    ctx: click.Context,
    job_id: str | None,
    status: tuple[Status, ...],
    labels: tuple[tuple[str, str], ...],
    since: str | None,
    query: str | None,
    sort: str | None,
    limit: int,
    cursor: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first, including missed ones. Works with or without a running kernel.

    The terms of QUERY are those of the lists in the dashboard and in REST: docs/reference/http.md.
    """
    if ctx.invoked_subcommand is not None:
        return
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.input.times import parse_past_time
    from gnomon.cli.output.json_output import execution_record, print_json
    from gnomon.domain.records import ExecutionQuery
    from gnomon.domain.run_sorting import NEWEST_FIRST

    kernel = reach(ctx, config, url)
    start = parse_past_time(since, kernel.zone, "--since") if since else None
    asked = ExecutionQuery(
        job_id=job_id,
        status=status,
        labels=tuple(map(":".join, labels)),
        since=start,
        sort=_sort(sort) if sort else NEWEST_FIRST,
        limit=limit,
        cursor=cursor,
    )
    page, left = asyncio.run(_page(kernel, asked, query))
    if as_json:
        print_json({"items": [execution_record(item) for item in page.items], "total": page.total, "next": page.next})
    else:
        _print(page, kernel.zone, left)


@command.command("show")
@click.argument("execution_id", metavar="ID")
@config_option
@url_option
@json_option
@click.pass_context
def show(ctx: click.Context, execution_id: str, config: Path | None, url: str | None, as_json: bool) -> None:
    """Show everything about one run: facts, steps, error, and its events as a timeline.

    ID may be the beginning of an id, as the list shows it in a narrow terminal.
    """
    from gnomon.cli.output.json_output import execution_record, print_json
    from gnomon.cli.output.run_report import print_report

    kernel = _reach(ctx, config, url)
    execution, run_events, left = asyncio.run(_one(kernel, execution_id))
    if as_json or outer_options(ctx).get("as_json"):
        print_json(execution_record(execution) | {"events": run_events})
    else:
        print_report(execution, run_events, kernel.zone, time_left=left)


@command.command("logs")
@click.argument("execution_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Print new lines until the run ends.")
@config_option
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each line and nothing else.")
@click.pass_context
def logs(
    ctx: click.Context, execution_id: str, follow: bool, config: Path | None, url: str | None, as_json: bool
) -> None:
    """Print the log lines of a run. Only the newest are stored; a first line says how many are missing."""
    from gnomon.cli.access.log_lines import read_log_lines
    from gnomon.cli.access.short_ids import find_run
    from gnomon.cli.output.log_lines import print_log_lines

    kernel = _reach(ctx, config, url)
    is_json = as_json or bool(outer_options(ctx).get("as_json"))

    async def print_all() -> None:
        async with kernel:
            execution = await find_run(kernel, execution_id)
            lines = read_log_lines(kernel, execution.id, follow=follow)
            await print_log_lines(lines, kernel.zone, as_json=is_json)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(print_all())


@command.command("stack")
@click.argument("execution_id", metavar="ID")
@config_option
@url_option
@json_option
@click.pass_context
def stack(ctx: click.Context, execution_id: str, config: Path | None, url: str | None, as_json: bool) -> None:
    """Show where a running body is in its code, and the CPU time and memory of its process.

    The calls are shown as a traceback is, the most recent one last, without values of variables. Call it again to see
    whether the body moves. Exits with 1 where nothing could be found.
    """
    from gnomon.cli import EXIT_FAILURE
    from gnomon.cli.access.short_ids import find_run
    from gnomon.cli.output.body_stack import print_sample
    from gnomon.cli.output.json_output import print_json

    kernel = _reach(ctx, config, url)

    async def look() -> BodySample:
        async with kernel:
            return await kernel.sample((await find_run(kernel, execution_id)).id)

    sample = asyncio.run(look())
    if as_json or outer_options(ctx).get("as_json"):
        print_json(sample)
    else:
        print_sample(sample, kernel.zone)
    if not sample.stacks:
        ctx.exit(EXIT_FAILURE)


@command.command("tail")
@click.option("--job", "job_id", metavar="JOB", help="Only runs of this job.")
@config_option
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event and nothing else.")
@click.pass_context
def tail(ctx: click.Context, job_id: str | None, config: Path | None, url: str | None, as_json: bool) -> None:
    """Print what happens from now on, until Ctrl-C: which runs start and how they end."""
    from gnomon.cli.access.empty_lists import expect_known
    from gnomon.cli.output.event_text import print_events

    kernel, outer = _reach(ctx, config, url), outer_options(ctx)
    job_id, as_json = job_id or outer.get("job_id"), as_json or bool(outer.get("as_json"))

    async def print_all() -> None:
        async with kernel:
            if job_id is not None:
                await expect_known(kernel, job_id)
            await print_events(kernel.follow_events(job_id), kernel.zone, as_json=as_json)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(print_all())


def _reach(ctx: click.Context, config: Path | None, url: str | None) -> ReachedKernel:
    from gnomon.cli.access.resolve import reach_of_subcommand

    return reach_of_subcommand(ctx, config, url)


def _sort(text: str) -> RunSort:
    from gnomon.domain.list_query import parse_sort

    try:
        return parse_sort(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--sort") from exc


async def _page(kernel: ReachedKernel, asked: ExecutionQuery, text: str | None) -> tuple[Page, dict[str, str]]:
    """Return a page of runs, and how long the running ones still need."""
    from gnomon.cli.access.empty_lists import why_empty
    from gnomon.cli.access.time_left import times_left
    from gnomon.domain.query_terms import ListQueryError

    try:
        async with kernel:
            page = await kernel.executions(asked, text)
            if not page.total and (text or asked.job_id or asked.status or asked.labels or asked.since):
                echo(await why_empty(kernel, "run", asked.job_id), err=True)
            return page, await times_left(kernel, page.items)
    except ListQueryError as exc:
        raise click.BadParameter(str(exc), param_hint="--query") from exc
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--cursor") from exc


async def _one(kernel: ReachedKernel, wanted: str) -> tuple[Execution, list[Event], str | None]:
    from gnomon.cli.access.short_ids import find_run
    from gnomon.cli.access.time_left import times_left

    async with kernel:
        execution = await find_run(kernel, wanted)
        left = await times_left(kernel, [execution])
        return execution, await kernel.run_events(execution.id), left.get(execution.id)


def _print(page: Page, zone: tzinfo | None, left: Mapping[str, str]) -> None:
    from gnomon.cli.access.short_ids import FULL_ID_LENGTH, SHORT_ID_LENGTH
    from gnomon.cli.output.tables import Column, output, print_table

    console = output()
    width = FULL_ID_LENGTH if console.width >= 100 else SHORT_ID_LENGTH
    columns = [
        Column("run", width, no_wrap=True),
        Column("job", 10),
        Column("status", 11, no_wrap=True),
        Column("when", 23, no_wrap=True),
        Column("took", 8, 1, right=True),
        Column("details", 30, 2),
    ]
    if page.items:
        print_table(columns, [_row(item, width, zone, left.get(item.id)) for item in page.items], console)
    if page.next is not None:
        echo(f"\n{len(page.items)} of {page.total}; continue with --cursor {page.next}", err=True)


def _row(execution: Execution, width: int, zone: tzinfo | None, time_left: str | None) -> tuple[str | Text, ...]:
    from rich.text import Text

    from gnomon.cli.output.states import state_of, style_of, with_glyph
    from gnomon.text import length, moment

    return (
        execution.id[:width],
        execution.job_id,
        Text(with_glyph(state_of(execution)), style_of(state_of(execution))),
        moment(execution.timestamp, zone, seconds=True),
        length(execution.execution_time),
        ", ".join(filter(None, (details(execution), time_left))),
    )


def _asked_by(execution: Execution) -> str:
    if execution.triggered_by is not None:
        return f"by run {execution.triggered_by}"
    return execution.cause or ("by hand" if execution.is_manual else "")


def details(execution: Execution) -> str:
    """Return what is special about a run, in a few words."""
    progress = execution.progress
    words = [
        _asked_by(execution),
        f"attempt {execution.tries}" if execution.tries > 1 else "",
        f"snoozed {execution.snoozes}× before" if execution.snoozes else "",
        f"{execution.count} fires" if execution.count > 1 else "",
        execution.reason or "",
        (execution.error_message or execution.detail or "").strip().partition("\n")[0],
    ]
    if execution.status == "running":
        percent = f"{progress.percent:.0f} %" if progress.percent is not None else ""
        words += [percent, progress.step or "", progress.message or ""]
        words += ["cancel requested"] if execution.cancel_requested else []
    return ", ".join(word for word in words if word)
