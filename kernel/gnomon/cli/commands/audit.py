"""`gnomon audit`: prove that every fire has exactly one outcome."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gnomon.cli.input.options import config_option, json_option, local_url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from datetime import tzinfo

    from rich.text import Text

    from gnomon.domain.audits import AuditReport, JobAudit
    from gnomon.ports import Store


@click.command("audit")
@click.option(
    "--since",
    metavar="WHEN",
    default="30d",
    show_default=True,
    help='A duration ago such as "2h" or "30d", or an ISO 8601 time.',
)
@click.option("--job", "job_ids", metavar="JOB", multiple=True, help="Only this job; may be repeated.")
@config_option
@local_url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, since: str, job_ids: tuple[str, ...], config: Path | None, url: str | None, as_json: bool
) -> None:
    """Prove from the log that every fire has exactly one outcome.

    The fires that each job should have had are computed from the definitions in the log and compared with the recorded
    outcomes. Works with or without a running kernel. Exits with 1 if an outcome is missing, doubled or unexpected,
    if the log has lost events, or if there is none.
    """
    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.access.stored_log import find_store
    from gnomon.cli.input.times import parse_past_time
    from gnomon.cli.output.json_output import print_json
    from gnomon.scheduling.timezones import timezone_or_utc

    settings = read_local_config(ctx, config, url, needs="the log itself")
    zone = timezone_or_utc(settings.kernel.timezone)
    report = asyncio.run(_audit(find_store(settings), parse_past_time(since, zone, "--since"), job_ids))
    if as_json:
        print_json({"is_proved": report.is_proved} | msgspec.structs.asdict(report))
    else:
        _print(report, zone)
    if not report.is_proved:
        ctx.exit(1)


async def _audit(store: Store, since: datetime, job_ids: tuple[str, ...]) -> AuditReport:
    from gnomon.analysis.audit import audit
    from gnomon.cli.access.stored_log import open_log

    async with open_log(store, to_prove=True) as log:
        return await audit(log, since, datetime.now(UTC), job_ids or None)


def _print(report: AuditReport, zone: tzinfo) -> None:
    from gnomon.cli.output.tables import Column, print_table
    from gnomon.text import moment

    columns = [
        Column("job", 12),
        Column("fires", 7, right=True),
        Column("missed", 7, 1, right=True),
        Column("open", 7, right=True),
        Column("proof", 18),
    ]
    if report.jobs:
        print_table(columns, [_row(job) for job in report.jobs])
    for job in report.jobs:
        _print_job(job, zone)
    fires = sum(job.fires for job in report.jobs)
    span = f"from {moment(report.since, zone)} to {moment(report.until, zone)}"
    if report.lost is not None:
        echo(f"\ncannot be proved: the log {report.lost.lost}", err=True)
        return
    verdict = "proved" if report.is_proved else "NOT proved"
    without = sum(bool(job.unproved) for job in report.jobs)
    more = f"; {without:,} job{'s' * (without != 1)} cannot be judged, or not wholly" if without else ""
    echo(f"\n{verdict}: {fires:,} fires {span} have exactly one outcome each{more}", err=True)


def _row(job: JobAudit) -> tuple[str | Text, ...]:
    from rich.text import Text

    findings = len(job.findings) + job.more_findings
    if findings:
        proof = Text(f"✘ {findings} finding{'s' * (findings != 1)}", "red")
    elif job.unproved:
        proof = Text("? cannot be judged", "yellow")
    else:
        proof = Text("✔ proved", "green")
    return job.job_id, f"{job.fires:,}", f"{job.missed:,}", f"{sum(one.count for one in job.open):,}", proof


def _print_job(job: JobAudit, zone: tzinfo) -> None:
    from gnomon.text import moment

    def span(first: datetime, last: datetime, count: int) -> str:
        return moment(first, zone) if count == 1 else f"{count:,} fires, {moment(first, zone)} to {moment(last, zone)}"

    for found in job.findings:
        echo(f"\n✘ {job.job_id}, {span(found.first, found.last, found.count)}: {found.detail}")
    if job.more_findings:
        echo(f"\n✘ {job.job_id}: {job.more_findings:,} more findings")
    for one in job.open:
        echo(f"\n… {job.job_id}, {span(one.first, one.last, one.count)}: {one.detail}")
    for time in job.unproved:
        entries = f"{time.entries:,} outcome{'s' * (time.entries != 1)} not compared"
        echo(f"\n? {job.job_id}, since {moment(time.since, zone)}: {time.reason} ({entries})")
