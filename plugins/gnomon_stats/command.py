"""`gnomon stats`: how the executions of every job end, and the verification of these statistics against the log.

A server reports what its kernel has counted, as the client's JobStatistics. For a log on this machine, the command
counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import config_option, json_option, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon import Store
    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.remote import RemoteKernel
    from gnomon_stats.label_output import CountedLabel
    from gnomon_stats.output import Counted
    from gnomon_stats.verification import Verification


@click.command("stats")
@click.argument("job_id", metavar="[JOB]", required=False)
@click.option("--label", metavar="NAME[=VALUE]", help="By the values of a label, over all jobs; or of one value.")
@click.option("--verify", "verifies", is_flag=True, help="Count everything again from the log and print what differs.")
@click.option("--rebuild", "rebuilds", is_flag=True, help="Replace the saved statistics; needs a stopped kernel.")
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    job_id: str | None,
    label: str | None,
    verifies: bool,
    rebuilds: bool,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Show how the executions of a job, of all jobs, or of each value of a label ended and how long they took.

    The statistics that the plugin stats has saved are brought up to the end of the log, so they are exact beside a
    running kernel and without one. With --url the server reports its own. With --verify the exit code is 1 if the
    saved statistics differ from the log; --verify and --rebuild need the log itself.
    """
    if (job_id is not None or label is not None) and (verifies or rebuilds):
        raise click.UsageError("--verify and --rebuild apply to all jobs and labels: leave out JOB and --label")
    if job_id is not None and label is not None:
        raise click.UsageError("--label counts the runs of all jobs: leave out JOB")
    if verifies or rebuilds:
        _verify_or_rebuild(ctx, config, url, verifies=verifies, rebuilds=rebuilds, as_json=as_json)
    elif label is not None:
        _show_label(ctx, config, url, label, as_json=as_json)
    else:
        _show(ctx, config, url, job_id, as_json=as_json)


def _verify_or_rebuild(
    ctx: click.Context, config: Path | None, url: str | None, *, verifies: bool, rebuilds: bool, as_json: bool
) -> None:
    import asyncio

    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.access.stored_log import find_store
    from gnomon_stats.output import print_verification

    settings = read_local_config(ctx, config, url, needs="the log itself")
    store, zone = find_store(settings), _zone(settings.sections)
    if rebuilds:
        asyncio.run(_rebuild(store, zone))
    if verifies:
        report = asyncio.run(_verify(store, zone))
        print_verification(report, as_json=as_json)
        if not report.is_proved:
            ctx.exit(1)


def _show(ctx: click.Context, config: Path | None, url: str | None, job_id: str | None, *, as_json: bool) -> None:
    import asyncio

    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json
    from gnomon_stats.output import print_job, print_jobs

    kernel = reach(ctx, config, url)
    if isinstance(kernel, LocalKernel):
        counted = asyncio.run(_count_local(kernel, job_id))
    else:
        counted = asyncio.run(_count_remote(kernel, job_id))
    if as_json:
        print_json(counted.jobs[0] if job_id is not None else counted.jobs)
    elif job_id is not None:
        print_job(counted.jobs[0], counted.today, counted.zone)
    else:
        print_jobs(counted)


def _show_label(ctx: click.Context, config: Path | None, url: str | None, text: str, *, as_json: bool) -> None:
    import asyncio

    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json
    from gnomon_stats.label_output import print_label

    label, value = _parse_label(text)
    kernel = reach(ctx, config, url)
    if isinstance(kernel, LocalKernel):
        counted = asyncio.run(_count_label_local(kernel, label, value))
    else:
        counted = asyncio.run(_count_label_remote(kernel, label, value))
    if as_json:
        print_json(counted.statistics)
    else:
        print_label(counted, value)


def _parse_label(text: str) -> tuple[str, str | None]:
    """Return the name and the value of a label; the value is None where the text has only a name."""
    from gnomon.domain.labels import parse_label

    try:
        if "=" in text or ":" in text:
            return parse_label(text)
        return parse_label(f"{text}=any")[0], None
    except ValueError:
        example = f"expected the name of a label, such as tenant, or one with a value, tenant=7; got {text!r}"
        raise click.BadParameter(example, param_hint="--label") from None


async def _count_label_local(kernel: LocalKernel, label: str, value: str | None) -> CountedLabel:
    from gnomon.scheduling.timezones import timezone_or_utc
    from gnomon_stats.fold import Statistics
    from gnomon_stats.label_output import CountedLabel
    from gnomon_stats.reading import catch_up, saved_statistics
    from gnomon_stats.report import label_names, label_statistics

    async with kernel:
        log = await kernel.log()
        statistics = await saved_statistics(log) or Statistics(_zone(kernel.config.sections))
        await catch_up(statistics, log, await log.head())
    today = datetime.now(timezone_or_utc(statistics.zone)).date()
    found = label_statistics(statistics, label, value)
    return CountedLabel(found, label_names(statistics), today, statistics.zone)


async def _count_label_remote(kernel: RemoteKernel, label: str, value: str | None) -> CountedLabel:
    from gnomon_stats.label_output import CountedLabel

    async with kernel:
        found, names = await kernel.label_statistics(label, value)
        return CountedLabel(found, names, await kernel.today(), None)


async def _rebuild(store: Store, zone: str) -> None:
    from gnomon_stats.output import completeness
    from gnomon_stats.verification import Recount, rebuild

    recount = Recount(zone)
    async with store:
        await recount.advance(store, await store.head())
        if recount.whole_after:
            clause = completeness(recount.whole_after, recount.whole_since)
            echo(f"{clause}; the counts from before would be lost")
            click.confirm("Count only what is left?", abort=True)
        await rebuild(store, recount)
    counted = f"{len(recount.statistics.jobs):,} jobs, up to position {recount.statistics.position:,}"
    echo(f"counted again: {counted}", err=True)


async def _verify(store: Store, zone: str) -> Verification:
    from gnomon.cli.access.stored_log import open_log
    from gnomon_stats.verification import verify

    async with open_log(store, to_prove=True) as log:
        return await verify(log, zone)


async def _count_local(kernel: LocalKernel, job_id: str | None) -> Counted:
    """Count one job, or all jobs that have runs or may have some."""
    from gnomon import UnknownJobError
    from gnomon.scheduling.timezones import timezone_or_utc
    from gnomon.text import close_match
    from gnomon_stats.fold import Statistics
    from gnomon_stats.output import Counted
    from gnomon_stats.reading import catch_up, saved_statistics
    from gnomon_stats.report import job_statistics

    async with kernel:
        log = await kernel.log()
        statistics = await saved_statistics(log) or Statistics(_zone(kernel.config.sections))
        await catch_up(statistics, log, await log.head())
        states = {state.job_id: state for state in await log.jobs()}
    if job_id is not None and job_id not in (known := states.keys() | statistics.jobs.keys()):
        raise UnknownJobError(job_id, close_match(job_id, sorted(known)))
    present = {name for name, state in states.items() if not state.removed} | statistics.jobs.keys()
    chosen = sorted(present) if job_id is None else [job_id]
    today = datetime.now(timezone_or_utc(statistics.zone)).date()
    return Counted([job_statistics(statistics, name) for name in chosen], today, statistics.zone)


async def _count_remote(kernel: RemoteKernel, job_id: str | None) -> Counted:
    from gnomon_stats.output import Counted

    async with kernel:
        return Counted(await kernel.statistics(job_id), await kernel.today(), None)


def _zone(sections: Mapping[str, Mapping[str, Any]]) -> str:
    zone: str = sections.get("stats", {}).get("timezone", "UTC")
    return zone
