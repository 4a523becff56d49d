"""`gnomon mongo ...`: compares the views in the database with the log, and rebuilds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from gnomon.cli.input.options import config_option

if TYPE_CHECKING:
    from gnomon.domain.records import ExecutionCounts
    from gnomon_mongo.rejected_documents import Rejected
    from gnomon_mongo.store import MongoStore

SHOWN = 20
"""How many differing runs are listed."""


@click.group("mongo")
def command() -> None:
    """Verify or rebuild the views of a log in MongoDB, or show what is not written yet."""


@command.command("verify")
@config_option
@click.pass_context
def verify(ctx: click.Context, config: Path | None) -> None:
    """Compare the view of every run with its events.

    Prints the statistics of each job. Works beside a running kernel. Exits with 1 if a view differs from its events.
    """
    import asyncio

    found, statistics = asyncio.run(_verify(_store(ctx, config)))
    _print(statistics)
    for execution_id in found[:SHOWN]:
        click.echo(f"✘ {execution_id}: its view differs from its events")
    runs = sum(job.total for job in statistics)
    if found:
        advice = "stop the kernel, then run `gnomon mongo rebuild`"
        click.echo(f"\n{len(found):,} of {runs:,} runs differ from their events: {advice}", err=True)
        ctx.exit(1)
    click.echo(f"\nthe views of all {runs:,} runs match their events", err=True)


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
    click.echo(waiting)
    for one in rejected[:SHOWN]:
        click.echo(f"✘ {one.name}: {one.problem}")
    click.echo(f"\n{len(rejected):,} documents are rejected and kept aside", err=True)
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
    import asyncio

    folded, statistics = asyncio.run(_rebuild(_store(ctx, config)))
    _print(statistics)
    click.echo(f"\n{folded:,} events folded into {sum(job.total for job in statistics):,} runs", err=True)


async def _spooled(store: MongoStore) -> tuple[str, list[Rejected]]:
    from gnomon.errors import StoreInUseError

    try:
        events, size = await store.spooled()
        waiting = f"{events:,} events wait in the spool, {size:,} bytes"
    except StoreInUseError:
        waiting = "a kernel uses the spool: its health shows how many events wait"
    return waiting, await store.rejected()


async def _retry(store: MongoStore) -> None:
    await store.open(read_only=True)
    try:
        await store.retry_rejected()
    finally:
        await store.close()


async def _verify(store: MongoStore) -> tuple[list[str], list[ExecutionCounts]]:
    await store.open(read_only=True)
    try:
        return await store.differences(), await store.statistics()
    finally:
        await store.close()


async def _rebuild(store: MongoStore) -> tuple[int, list[ExecutionCounts]]:
    async with store:
        return await store.rebuild(), await store.statistics()


def _store(ctx: click.Context, named: Path | None) -> MongoStore:
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.access.stored_log import find_store
    from gnomon.errors import ConfigError

    config = read_config(ctx, named)
    store = find_store(config)  # names the extra to install if the driver is missing
    if "mongo" not in config.sections:
        raise ConfigError([f"{config.source or 'the built-in example'} keeps its log in another store: {store.name}"])
    return cast("MongoStore", store)


def _print(statistics: list[ExecutionCounts]) -> None:
    width = max((len(job.job_id) for job in statistics), default=0)
    for job in statistics:
        counts = ", ".join(f"{count:,} {status}" for status, count in job.by_status.items())
        mean = f"; {job.average_execution_time:.3g} s on average" if job.average_execution_time is not None else ""
        last = f"last {job.last_status} {job.last_timestamp:%Y-%m-%d %H:%M:%S} UTC"
        click.echo(f"{job.job_id:{width}}  {counts}{mean}; {last}")
