"""`gnomon runs`: the history as a list; `gnomon runs show ID`: all that is known of one run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gnomon.cli.options import config_option, json_option, url_option

if TYPE_CHECKING:
    from rich.text import Text

    from gnomon.config import Config
    from gnomon.events import Event
    from gnomon.execution import Execution, Status
    from gnomon.ports import ExecutionQuery, Page, Store

T = TypeVar("T")
STATUSES = ("scheduled", "running", "success", "failed", "missed", "cancelled")


@click.group("runs", invoke_without_command=True)
@click.option("--job", "job_id", metavar="JOB", help="Only runs of this job.")
@click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Only these; may be given several times.")
@click.option("--since", metavar="WHEN", help='Started at or after: "2h", "1d" ago, or an ISO 8601 time.')
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", help="Where the page before ended.")
@config_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    job_id: str | None,
    status: tuple[Status, ...],
    since: str | None,
    limit: int,
    cursor: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """List runs, newest first, also those that did not happen. Works beside a running kernel."""
    if ctx.invoked_subcommand is not None:
        return
    from gnomon.cli.deployments import read_config
    from gnomon.cli.json_output import execution_record, print_json
    from gnomon.cli.moments import past_moment
    from gnomon.cli.wording import zone_of
    from gnomon.ports import ExecutionQuery

    settings = read_config(ctx, config)
    start = past_moment(since, zone_of(settings.kernel.timezone), "--since") if since else None
    query = ExecutionQuery(job_id=job_id, status=status, since=start, limit=limit, cursor=cursor)
    page = _read(settings, lambda log: _page(log, query))
    if as_json:
        print_json({"items": [execution_record(item) for item in page.items], "total": page.total, "next": page.next})
    else:
        _print(page, settings)


@command.command("show")
@click.argument("execution_id", metavar="ID")
@config_option
@json_option
@click.pass_context
def show(ctx: click.Context, execution_id: str, config: Path | None, as_json: bool) -> None:
    """Tell all of one run: facts, steps, error, and its events as a timeline.

    ID may be the beginning of an id, as the list shows it in a narrow terminal.
    """
    from gnomon.cli.deployments import read_config
    from gnomon.cli.json_output import execution_record, print_json
    from gnomon.cli.run_report import print_report
    from gnomon.cli.wording import zone_of

    parent = ctx.parent.params if ctx.parent else {}
    settings = read_config(ctx, config, parent.get("config"))
    execution, history = _read(settings, lambda log: _one(log, execution_id))
    if as_json or parent.get("as_json"):
        print_json(execution_record(execution) | {"events": history})
    else:
        print_report(execution, history, zone_of(settings.kernel.timezone))


@command.command("logs")
@click.argument("execution_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on with what the run logs, until it is over.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each line and nothing else.")
@click.pass_context
def logs(ctx: click.Context, execution_id: str, follow: bool, config: Path | None, as_json: bool) -> None:
    """Print the lines that a run logged. Only its newest ones are kept; the first line says how many are gone."""
    from gnomon.cli.deployments import read_config
    from gnomon.cli.run_lines import print_lines

    parent = ctx.parent.params if ctx.parent else {}
    settings = read_config(ctx, config, parent.get("config"))
    is_json = as_json or bool(parent.get("as_json"))

    async def tell(log: Store) -> None:
        execution, _ = await _one(log, execution_id)
        await print_lines(log, execution.id, settings.kernel.timezone, follow=follow, as_json=is_json)

    with contextlib.suppress(KeyboardInterrupt):
        _read(settings, tell)


@command.command("tail")
@click.option("--job", "job_id", metavar="JOB", help="Only runs of this job.")
@config_option
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print one event, as JSON, in each line and nothing else.")
@click.pass_context
def tail(ctx: click.Context, job_id: str | None, config: Path | None, url: str | None, as_json: bool) -> None:
    """Follow what runs and what becomes of it, from now on until Ctrl-C."""
    from gnomon.cli.event_lines import print_events
    from gnomon.cli.steering import reach

    parent = ctx.parent.params if ctx.parent else {}
    kernel = reach(ctx, config or parent.get("config"), url)
    job_id, as_json = job_id or parent.get("job_id"), as_json or bool(parent.get("as_json"))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(print_events(kernel, job_id, as_json=as_json))


def _read(config: Config, ask: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    from gnomon.cli.deployments import assemble_store, reading

    async def ask_log() -> T:
        async with reading(assemble_store(config)) as log:
            return await ask(log)

    return asyncio.run(ask_log())


async def _page(log: Store, query: ExecutionQuery) -> Page:
    try:
        return await log.executions(query)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--cursor") from exc


async def _one(log: Store, wanted: str) -> tuple[Execution, list[Event]]:
    from gnomon.cli.short_ids import RECENT, only_match
    from gnomon.errors import UnknownExecutionError
    from gnomon.ports import ExecutionQuery

    execution = await log.execution(wanted)
    if execution is None:
        recent = (await log.executions(ExecutionQuery(limit=RECENT))).items
        execution = only_match(wanted, recent)
    if execution is None:
        raise UnknownExecutionError(wanted)
    return execution, await log.stream(execution.id)


def _print(page: Page, config: Config) -> None:
    from rich.console import Console

    from gnomon.cli.short_ids import SHORT_ID, WHOLE_ID
    from gnomon.cli.tables import Column, print_table
    from gnomon.cli.wording import zone_of

    console = Console(highlight=False)
    width = WHOLE_ID if console.width >= 100 else SHORT_ID
    zone = zone_of(config.kernel.timezone)
    columns = [
        Column("run", width, holds=True),
        Column("job", 10),
        Column("status", 11, holds=True),
        Column("when", 23, holds=True),
        Column("took", 8, 1, right=True),
        Column("what", 30, 2),
    ]
    if page.items:
        print_table(columns, [_row(item, width, zone) for item in page.items], console)
    if page.next is not None:
        click.echo(f"\n{len(page.items)} of {page.total}; go on with --cursor {page.next}", err=True)


def _row(execution: Execution, width: int, zone: Any) -> tuple[str | Text, ...]:
    from rich.text import Text

    from gnomon.cli.wording import length, moment, style_of, with_glyph

    return (
        execution.id[:width],
        execution.job_id,
        Text(with_glyph(execution.status), style_of(execution.status)),
        moment(execution.timestamp, zone, seconds=True),
        length(execution.execution_time),
        what(execution),
    )


def what(execution: Execution) -> str:
    """Say in a few words what is special about a run."""
    progress = execution.progress
    words = [
        "by hand" if execution.is_manual else "",
        f"attempt {execution.attempt}" if execution.attempt > 1 else "",
        f"{execution.count} fires" if execution.count > 1 else "",
        execution.reason or "",
        (execution.error_message or execution.detail or "").strip().partition("\n")[0],
    ]
    if execution.status == "running":
        percent = f"{progress.percent:.0f} %" if progress.percent is not None else ""
        words += [percent, progress.step or "", progress.message or ""]
        words += ["cancel requested"] if execution.cancel_requested else []
    return ", ".join(word for word in words if word)
