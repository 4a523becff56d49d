"""`gnomon mongo ...`: compares the views in the database with the log, rebuilds them, and imports an older history."""

from __future__ import annotations

import re
from datetime import timedelta, timezone, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from gnomon.cli.input.options import config_option
from gnomon.cli.output.console import echo
from gnomon_shared_log.server_commands import (
    SHOWN,
    Comparison,
    compare_views,
    describe_spool,
    find_server_store,
    print_comparison,
    rebuild_views,
)

if TYPE_CHECKING:
    from gnomon_mongo.documents.rejected_documents import Rejected
    from gnomon_mongo.history_import.history_import import ImportReport
    from gnomon_mongo.store import MongoStore

OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")


@click.group("mongo")
def command() -> None:
    """Verify or rebuild a log in MongoDB, import an older history, or show what is not written."""


@command.command("verify")
@config_option
@click.pass_context
def verify(ctx: click.Context, config: Path | None) -> None:
    """Compare the view of every run with its events.

    Prints the statistics of each job. Works beside a running kernel. Exits with 1 if a view differs from its events, or
    has none, so that nothing proves it. Documents of other programs are counted.
    """
    import asyncio

    found, foreign = asyncio.run(_verify(_store(ctx, config)))
    if foreign:
        from gnomon_mongo.documents.foreign_documents import describe

        echo(f"{describe(foreign)}\n", err=True)
    print_comparison(found, "mongo")
    if not found.is_right:
        ctx.exit(1)


@command.command("import")
@config_option
@click.option(
    "--timezone",
    "zone",
    default="+08:00",
    show_default=True,
    help="The zone of times without an offset: an IANA name or an offset.",
)
@click.option("--dry-run", is_flag=True, help="Report what would be imported, and change nothing.")
@click.pass_context
def import_(ctx: click.Context, config: Path | None, zone: str, dry_run: bool) -> None:
    """Import the history of another scheduler from the same database.

    Runs, operators' acts, and names and notes of jobs in scheduler_executions, scheduler_history and
    scheduler_metadata become events of the log, and views take the places of their documents; make a dump first.
    Refused while a kernel writes. It can be repeated: what was imported is not imported again. Exits with 1 if
    documents are left that cannot be imported.
    """
    import asyncio

    report = asyncio.run(_import(_store(ctx, config), _zone(zone), is_trial=dry_run))
    from gnomon_mongo.history_import.import_report import report_lines

    for line in report_lines(report, zone, is_trial=dry_run):
        echo(line)
    if report.refused:
        ctx.exit(1)


@command.command("spool")
@config_option
@click.option("--retry", is_flag=True, help="Write the rejected documents again.")
@click.pass_context
def spool(ctx: click.Context, config: Path | None, retry: bool) -> None:
    """Show what has not been written to MongoDB.

    The events that wait while the server is down are written by the kernel. Documents that the server has rejected are
    kept aside: remove the cause, then write them again with --retry, also beside a running kernel. Exits with 1 if any
    are left.
    """
    import asyncio

    store = _store(ctx, config)
    if retry:
        asyncio.run(_retry(store))
    waiting, rejected = asyncio.run(_spooled(store))
    echo(waiting)
    for one in rejected[:SHOWN]:
        echo(f"✘ {one.name}: {one.problem}")
    echo(f"\n{len(rejected):,} documents are rejected and kept aside", err=True)
    if rejected:
        ctx.exit(1)


@command.command("rebuild")
@config_option
@click.pass_context
def rebuild(ctx: click.Context, config: Path | None) -> None:
    """Rebuild all views from the events.

    Deletes the views of runs, jobs and operators' actions first; the events are not changed. Refused while a kernel
    writes. If it is interrupted, the next start completes it.
    """
    rebuild_views(_store(ctx, config))


async def _spooled(store: MongoStore) -> tuple[str, list[Rejected]]:
    return await describe_spool(store), await store.rejected()


async def _retry(store: MongoStore) -> None:
    await store.open(read_only=True)
    try:
        await store.retry_rejected()
    finally:
        await store.close()


async def _verify(store: MongoStore) -> tuple[Comparison, dict[str, int]]:
    await store.open(read_only=True)
    try:
        return await compare_views(store), await store.foreign_documents()
    finally:
        await store.close()


def _zone(text: str) -> tzinfo:
    from gnomon.errors import TriggerError
    from gnomon.scheduling.timezones import parse_timezone

    if (offset := OFFSET.fullmatch(text)) is not None:
        sign, hours, minutes = offset.groups()
        if int(hours) > 23 or int(minutes or 0) > 59:
            detail = f"{text!r} is not a valid offset; expected one from -23:59 to +23:59, such as +08:00"
            raise click.BadParameter(detail, param_hint="--timezone")
        return timezone((1 if sign == "+" else -1) * timedelta(hours=int(hours), minutes=int(minutes or 0)))
    try:
        return parse_timezone(text)
    except TriggerError as exc:
        raise click.BadParameter(str(exc), param_hint="--timezone") from exc


async def _import(store: MongoStore, zone: tzinfo, *, is_trial: bool) -> ImportReport:
    async with store:
        return await store.import_history(zone, is_trial=is_trial)


def _store(ctx: click.Context, named: Path | None) -> MongoStore:
    return cast("MongoStore", find_server_store(ctx, named, "mongo"))
