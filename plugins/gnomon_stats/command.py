"""`gnomon stats`: how the executions of every job end, and the proof of it.

What a kernel elsewhere has counted is told by its server, as the client's JobStatistics; here we count ourselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gnomon.cli.input.options import config_option, json_option, url_option

if TYPE_CHECKING:
    from rich.text import Text

    from gnomon import Store
    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.remote import RemoteKernel
    from gnomon.client import Day, JobStatistics
    from gnomon.deployment.config import Config
    from gnomon_stats.shape import DayStats, JobStats
    from gnomon_stats.verification import Verification

DAYS = 14
"""Days that a row of bars shows, today being the last one."""
SHOWN = 20
"""Differences that are printed; `--json` has them all."""


@click.command("stats")
@click.argument("job_id", metavar="[JOB]", required=False)
@click.option("--verify", "verifies", is_flag=True, help="Count everything again from the log, and tell what differs.")
@click.option("--rebuild", "rebuilds", is_flag=True, help="Keep what the log says instead; for a stopped kernel.")
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    job_id: str | None,
    verifies: bool,
    rebuilds: bool,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Count how the executions of a job, or of all jobs, ended, and how long they took.

    What the plugin stats has kept is brought up to the end of the log, so it is exact beside a running kernel and
    without one; a kernel elsewhere tells what it has counted. With --verify it ends with 1 where what is kept is not
    what the log says; --verify and --rebuild need the log itself.
    """
    if job_id is not None and (verifies or rebuilds):
        raise click.UsageError("--verify and --rebuild are about all jobs: leave the job out")
    if verifies or rebuilds:
        _prove(ctx, config, url, verifies=verifies, rebuilds=rebuilds, as_json=as_json)
    else:
        _show(ctx, config, url, job_id, as_json=as_json)


def _prove(
    ctx: click.Context, config: Path | None, url: str | None, *, verifies: bool, rebuilds: bool, as_json: bool
) -> None:
    import asyncio

    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.access.stored_log import find_store

    settings = read_local_config(ctx, config, url, needs="the log itself")
    store, zone = find_store(settings), _zone(settings)
    if rebuilds:
        asyncio.run(_rebuild(store, zone))
    if verifies:
        report = asyncio.run(_verify(store, zone))
        _print_verification(report, as_json=as_json)
        if not report.is_proved:
            ctx.exit(1)


def _show(ctx: click.Context, config: Path | None, url: str | None, job_id: str | None, *, as_json: bool) -> None:
    import asyncio

    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json

    kernel = reach(ctx, config, url)
    if isinstance(kernel, LocalKernel):
        counted = asyncio.run(_counted_here(kernel, job_id))
    else:
        counted = asyncio.run(_counted_there(kernel, job_id))
    if as_json:
        print_json(counted.jobs[0] if job_id is not None else counted.jobs)
    elif job_id is not None:
        _print_job(counted.jobs[0], counted)
    else:
        _print_jobs(counted)


async def _rebuild(store: Store, zone: str) -> None:
    from gnomon_stats.verification import Recount, rebuild

    recount = Recount(zone)
    async with store:
        await recount.go_on(store, await store.head())
        if recount.whole_after:
            click.echo(
                f"{_whole_only(recount.whole_after, recount.whole_since)}; the rest would not be counted any more"
            )
            click.confirm("Count only what is left?", abort=True)
        await rebuild(store, recount)
    counted = f"{len(recount.statistics.jobs):,} jobs, up to position {recount.statistics.position:,}"
    click.echo(f"counted again: {counted}", err=True)


async def _verify(store: Store, zone: str) -> Verification:
    from gnomon.cli.access.stored_log import open_log
    from gnomon_stats.verification import verify

    async with open_log(store) as log:
        return await verify(log, zone)


class Counted(NamedTuple):
    """The statistics of jobs, the day that it is where they were counted, and its zone, where that is known."""

    jobs: Sequence[JobStats | JobStatistics]
    today: date
    zone: str | None


async def _counted_here(kernel: LocalKernel, job_id: str | None) -> Counted:
    """Count the job that is named, or all that have runs or may have some."""
    from gnomon import UnknownJobError
    from gnomon.scheduling.timezones import timezone_or_utc
    from gnomon.text import close_match
    from gnomon_stats.fold import Statistics
    from gnomon_stats.reading import bring_to, kept_statistics
    from gnomon_stats.shape import job_stats

    async with kernel:
        log = await kernel.log()
        statistics = await kept_statistics(log) or Statistics(_zone(kernel.config))
        await bring_to(statistics, log, await log.head())
        states = {state.job_id: state for state in await log.jobs()}
    if job_id is not None and job_id not in (known := states.keys() | statistics.jobs.keys()):
        raise UnknownJobError(job_id, close_match(job_id, sorted(known)))
    present = {name for name, state in states.items() if not state.removed} | statistics.jobs.keys()
    chosen = sorted(present) if job_id is None else [job_id]
    today = datetime.now(timezone_or_utc(statistics.zone)).date()
    return Counted([job_stats(statistics, name) for name in chosen], today, statistics.zone)


async def _counted_there(kernel: RemoteKernel, job_id: str | None) -> Counted:
    async with kernel:
        return Counted(await kernel.statistics(job_id), await kernel.today(), None)


def _zone(settings: Config) -> str:
    zone: str = settings.sections.get("stats", {}).get("timezone", "UTC")
    return zone


def _print_jobs(counted: Counted) -> None:
    from gnomon.cli.output.tables import Column, print_table

    columns = [
        Column("job", 12),
        Column("runs", 6, right=True),
        Column("success", 7, right=True),
        Column("failed", 6, 1, right=True),
        Column("missed", 6, 2, right=True),
        Column("mean", 8, 3, no_wrap=True, right=True),
        Column("p50", 8, 4, no_wrap=True, right=True),
        Column("p95", 8, 1, no_wrap=True, right=True),
        Column("last run", 18, 2),
        Column(f"{DAYS} days", DAYS, 1, no_wrap=True),
    ]
    print_table(columns, [_row(job, counted.today) for job in counted.jobs])


def _row(job: JobStats | JobStatistics, today: date) -> tuple[str | Text, ...]:
    from gnomon.text import length

    return (
        job.job_id,
        f"{job.total:,}",
        _rate(job),
        f"{job.failed:,}",
        f"{job.missed:,}",
        length(job.avg_execution_time),
        length(job.p50),
        length(job.p95),
        _last(job),
        _bars(job, today),
    )


def _print_job(job: JobStats | JobStatistics, counted: Counted) -> None:
    from rich.table import Table

    from gnomon.cli.output.tables import output
    from gnomon.text import length

    states = ("success", "failed", "missed", "cancelled", "running", "scheduled")
    parts = [f"{count:,} {state}" for state in states if (count := getattr(job, state))]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("runs", ": ".join([f"{job.total:,}", *([", ".join(parts)] if parts else [])]))
    table.add_row("success rate", _rate(job))
    table.add_row("mean", length(job.avg_execution_time))
    table.add_row("p50, p95", f"{length(job.p50)}, {length(job.p95)}")
    table.add_row("streak", _streak(job))
    table.add_row("last run", _last(job))
    until = f"today, in {counted.zone}" if counted.zone else f"{counted.today}, today where they are counted"
    table.add_row(f"{DAYS} days", _bars(job, counted.today).append(f"  up to {until}", style="dim"))
    output().print(table)


def _streak(job: JobStats | JobStatistics) -> str:
    if (streak := job.streak) is None:
        return "-"
    now = f"{streak.length:,} × {streak.status}" if streak.status else "-"
    return f"{now} (longest: {streak.longest_success:,} × success, {streak.longest_failed:,} × failed)"


def _rate(job: JobStats | JobStatistics) -> str:
    return f"{job.success_rate:.1%}" if job.success_rate is not None else "-"


def _last(job: JobStats | JobStatistics) -> Text:
    from rich.text import Text

    from gnomon.cli.output.states import style_of, with_glyph
    from gnomon.text import length

    if job.last_execution is None:
        return Text("never")
    ago = length((datetime.now(UTC) - job.last_execution.timestamp).total_seconds())
    status = job.last_execution.status
    return Text(f"{with_glyph(status)}, {ago} ago", style_of(status))


def _bars(job: JobStats | JobStatistics, today: date) -> Text:
    """Draw the days as bars: as high as much ended on them, in the colour of the worst that did."""
    from rich.text import Text

    if job.by_day is None:
        return Text("-")
    known: dict[date, DayStats | Day] = {day.day: day for day in job.by_day}
    days = [known.get(today - timedelta(days=back)) for back in reversed(range(DAYS))]
    counts = [day.success + day.failed + day.missed + day.cancelled if day else 0 for day in days]
    most = max(counts)
    bars = Text()
    for day, count in zip(days, counts, strict=True):
        height = -(-count * 8 // most) if count else 0  # rounded up: one run is seen beside a thousand
        bars.append("·▁▂▃▄▅▆▇█"[height], _colour(day) if day else "dim")
    return bars


def _colour(day: DayStats | Day) -> str:
    from gnomon.cli.output.states import style_of

    worst = next((status for status in ("failed", "missed", "cancelled", "success") if getattr(day, status)), "")
    return style_of(worst) or "dim"


def _print_verification(report: Verification, *, as_json: bool) -> None:
    from gnomon.cli.output.json_output import print_json

    if as_json:
        print_json(_record(report))
        return
    for one in report.differences[:SHOWN]:
        click.echo(f"✘ {one}")
    if len(report.differences) > SHOWN:
        click.echo(f"✘ {len(report.differences) - SHOWN:,} more differences")
    for sentence in _sentences(report):
        click.echo(sentence)
    counted = f"{report.executions:,} runs of {report.jobs:,} jobs, up to position {report.position:,}"
    click.echo(f"{'proved' if report.is_proved else 'NOT proved'}: {counted}", err=True)


def _record(report: Verification) -> dict[str, Any]:
    import msgspec

    return {"is_proved": report.is_proved} | msgspec.structs.asdict(report)


def _sentences(report: Verification) -> list[str]:
    """Say what was compared with what, and what could not be."""
    said = []
    if not report.is_proved:
        return ["stop the kernel and count again what the log has: gnomon stats --rebuild"]
    if report.kept_at is None:
        said.append("? nothing is kept yet: what `gnomon stats` shows is counted from the log each time")
    else:
        said.append(f"✔ what is kept (at position {report.kept_at:,}) is what the log says")
    if report.whole_after:
        whole = _whole_only(report.whole_after, report.whole_since)
        said.append(f"? {whole}; what was counted before is not less than what is left of it, and adds up")
    if report.store == "equal":
        said.append("✔ the store counts the same by itself")
    elif report.store.startswith("was"):
        said.append(f"? the store {report.store}: not compared with it")
    return said


def _whole_only(after: int, since: datetime | None) -> str:
    ended = f"what ended since {since:%Y-%m-%d %H:%M} UTC" if since is not None else "what is still to come"
    return f"the log is whole only for {ended} (after position {after:,})"
