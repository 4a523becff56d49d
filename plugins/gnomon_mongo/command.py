"""`gnomon mongo ...`: compare the views in the database with the log, and fold them anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from gnomon.cli.input.options import config_option

if TYPE_CHECKING:
    from gnomon.domain.records import JobStatistics
    from gnomon_mongo.store import MongoStore

SHOWN = 20
"""Differences that are named."""


@click.group("mongo")
def command() -> None:
    """Prove the views of a log in MongoDB, or fold them anew."""


@command.command("verify")
@config_option
@click.pass_context
def verify(ctx: click.Context, config: Path | None) -> None:
    """Compare the view of every run with its events.

    Shows the numbers of each job. Works beside a running kernel. Ends with 1 where a view is not what its events say.
    """
    import asyncio

    found, statistics = asyncio.run(_verify(_store(ctx, config)))
    _print(statistics)
    for execution_id in found[:SHOWN]:
        click.echo(f"✘ {execution_id}: its view is not what its events say")
    runs = sum(job.total for job in statistics)
    if found:
        advice = "stop the kernel, then `gnomon mongo rebuild`"
        click.echo(f"\n{len(found):,} of {runs:,} runs are not what their events say: {advice}", err=True)
        ctx.exit(1)
    click.echo(f"\nall {runs:,} runs are what their events say", err=True)


@command.command("rebuild")
@config_option
@click.pass_context
def rebuild(ctx: click.Context, config: Path | None) -> None:
    """Fold all views anew from the events.

    The views of runs, jobs and operators' acts are thrown away first; the events stay as they are. Refused while a
    kernel writes. What stops it between is made good by the next start.
    """
    import asyncio

    folded, statistics = asyncio.run(_rebuild(_store(ctx, config)))
    _print(statistics)
    click.echo(f"\n{folded:,} events folded into {sum(job.total for job in statistics):,} runs", err=True)


async def _verify(store: MongoStore) -> tuple[list[str], list[JobStatistics]]:
    await store.open(read_only=True)
    try:
        return await store.differences(), await store.statistics()
    finally:
        await store.close()


async def _rebuild(store: MongoStore) -> tuple[int, list[JobStatistics]]:
    async with store:
        return await store.rebuild(), await store.statistics()


def _store(ctx: click.Context, named: Path | None) -> MongoStore:
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.access.stored_log import find_store
    from gnomon.errors import ConfigError

    config = read_config(ctx, named)
    store = find_store(config)  # which tells what to install, where the driver is not
    if "mongo" not in config.sections:
        raise ConfigError([f"{config.source or 'the built-in example'} has its log in another store: {store.name}"])
    return cast("MongoStore", store)


def _print(statistics: list[JobStatistics]) -> None:
    width = max((len(job.job_id) for job in statistics), default=0)
    for job in statistics:
        counts = ", ".join(f"{count:,} {status}" for status, count in job.by_status.items())
        mean = f"; {job.average_execution_time:.3g} s on average" if job.average_execution_time is not None else ""
        last = f"last {job.last_status} {job.last_timestamp:%Y-%m-%d %H:%M:%S} UTC"
        click.echo(f"{job.job_id:{width}}  {counts}{mean}; {last}")
