"""`gnomon log`: move a log to another store, through a file."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from datetime import tzinfo

    from gnomon.ports import Store
    from gnomon.transfer.exporter import ExportReport
    from gnomon.transfer.importer import ImportReport

FILE = click.Path(path_type=Path, dir_okay=False, resolve_path=True)  # resolved before the folder is changed


@click.group("log")
def command() -> None:
    """Move a log to another store, or copy it, through a file.

    Export it while its kernel runs, and import that; then stop the kernel, export and import the rest, and start the
    kernel with the other store.
    """


@command.command("export")
@click.argument("file", type=FILE)
@click.option("--final", "is_final", is_flag=True, help="Export the rest, and close the log here.")
@click.option(
    "--audit-since",
    metavar="WHEN",
    default="30d",
    show_default=True,
    help='With --final: audit the fires since then, such as "30d" or an ISO 8601 time, for the import to compare.',
)
@config_option
@json_option
@click.pass_context
def export(
    ctx: click.Context, file: Path, is_final: bool, audit_since: str, config: Path | None, as_json: bool
) -> None:
    """Write the log to FILE, or what FILE does not have yet.

    FILE has one JSON object a line, and is compressed if its name ends with .gz. The log is not changed, and its kernel
    may run, unless --final is given: then the log is closed, so that no kernel leads it here and elsewhere. An export
    that was interrupted is continued by the next one.
    """
    from gnomon.cli.input.times import parse_past_time
    from gnomon.cli.output.json_output import print_json
    from gnomon.cli.output.transfer_progress import TransferProgress
    from gnomon.transfer.exporter import export_log

    store, zone = _store(ctx, config)
    span = datetime.now(UTC) - parse_past_time(audit_since, zone, "--audit-since")
    with TransferProgress("exporting", is_quiet=as_json) as progress:
        report = asyncio.run(export_log(store, file, is_final=is_final, audit_span=span, show=progress.show))
    if as_json:
        print_json(report)
    else:
        _print_export(report, store.name)


@command.command("import")
@click.argument("file", type=FILE)
@click.option("--copy", "as_copy", is_flag=True, help="Make it a separate log, with a new id, as far as it goes.")
@config_option
@json_option
@click.pass_context
def import_(ctx: click.Context, file: Path, as_copy: bool, config: Path | None, as_json: bool) -> None:
    """Write the log in FILE to the store of the config, or what that does not have yet.

    The store has to be empty, or has a part of this log. Every event is read back and compared, the runs are counted,
    and the last part is audited. A kernel leads the log only after that; with --copy it leads one that goes on beside
    the other. Exits with 1 if FILE is not whole, or if anything differs.
    """
    from gnomon.cli.output.json_output import print_json
    from gnomon.cli.output.transfer_progress import TransferProgress
    from gnomon.transfer.importer import import_log

    store, _ = _store(ctx, config)
    with TransferProgress("importing", is_quiet=as_json) as progress:
        report = asyncio.run(import_log(store, file, as_copy=as_copy, show=progress.show))
    if as_json:
        print_json(report)
    else:
        _print_import(report)
    if report.problems:
        ctx.exit(1)


@command.command("reopen")
@config_option
@click.pass_context
def reopen(ctx: click.Context, config: Path | None) -> None:
    """Allow a kernel to lead a log again that `gnomon log export --final` has closed.

    Only if no kernel has led it where it was imported: fires of both would run twice.
    """
    from gnomon.transfer.exporter import reopen_log

    store, _ = _store(ctx, config)
    closed = asyncio.run(reopen_log(store))
    if closed is None:
        echo("the log is not closed: a kernel may lead it")
    else:
        echo(f"the log is open again; it was exported to {closed.file}, up to event {closed.position:,}")


def _store(ctx: click.Context, config: Path | None) -> tuple[Store, tzinfo]:
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.access.stored_log import find_store
    from gnomon.scheduling.timezones import timezone_or_utc

    settings = read_config(ctx, config)
    return find_store(settings), timezone_or_utc(settings.kernel.timezone)


def _print_export(report: ExportReport, store: str) -> None:
    has = f"{report.file} has the log {report.log_id} up to event {report.position:,}"
    echo(f"{report.events:,} events exported; {has}")
    if not report.has_checkpoints:
        echo(f"the store {store} cannot list checkpoints: what plugins keep is not in the file", err=True)
    if report.findings:
        echo(f"the audit has {report.findings:,} findings, which the import expects: see `gnomon audit`", err=True)
    if report.is_final:
        echo("the log is closed here; start its kernel with the other store, after `gnomon log import`", err=True)
    else:
        echo("once the kernel is stopped, `gnomon log export --final` adds what comes until then", err=True)


def _print_import(report: ImportReport) -> None:
    runs = ", ".join(f"{n:,} {status}" for status, n in report.runs.items()) or "none"
    here = f"the log {report.log_id} is here up to event {report.position:,}"
    echo(f"{report.events:,} events written and compared; {here}")
    echo(f"runs: {runs}; {report.jobs:,} jobs")
    for problem in report.problems:
        echo(f"✘ {problem}", err=True)
    if report.is_complete and report.copy_of:
        echo(f"it is a copy of {report.copy_of}, and a kernel may lead it", err=True)
    elif report.is_complete:
        echo("it is complete, and a kernel may lead it", err=True)
    elif not report.problems:
        echo("it is not complete: no kernel leads it before a final export is imported", err=True)
