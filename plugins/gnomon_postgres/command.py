"""`gnomon postgres ...`: compares the views in the database with the log, and rebuilds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import click

from gnomon.cli.input.options import config_option
from gnomon.cli.output.console import echo
from gnomon_shared_log.command_output import find_server_store, print_comparison, print_statistics

if TYPE_CHECKING:
    from gnomon.domain.records import ExecutionCounts
    from gnomon_postgres.store import PostgresStore


@click.group("postgres")
def command() -> None:
    """Verify or rebuild a log in PostgreSQL, or show what is not written."""


@command.command("verify")
@config_option
@click.pass_context
def verify(ctx: click.Context, config: Path | None) -> None:
    """Compare the view of every run with its events.

    Prints the statistics of each job. Works beside a running kernel. Exits with 1 if a view differs from its events, or
    has none, so that nothing proves it.
    """
    import asyncio

    found = asyncio.run(_verify(_store(ctx, config)))
    print_comparison(found.statistics, found.different, found.unproved, "postgres")
    if found.different or found.unproved:
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
    print_statistics(statistics)
    echo(f"\n{folded:,} events folded into {sum(job.total for job in statistics):,} runs", err=True)


@command.command("spool")
@config_option
@click.pass_context
def spool(ctx: click.Context, config: Path | None) -> None:
    """Show how many events wait in the spool.

    The kernel of this machine writes them when the server can be reached again.
    """
    import asyncio

    echo(asyncio.run(_spooled(_store(ctx, config))))


class Verified(NamedTuple):
    """The result of a comparison: runs by id."""

    different: list[str]
    unproved: list[str]
    statistics: list[ExecutionCounts]


async def _verify(store: PostgresStore) -> Verified:
    await store.open(read_only=True)
    try:
        return Verified(await store.differences(), await store.without_events(), await store.statistics())
    finally:
        await store.close()


async def _rebuild(store: PostgresStore) -> tuple[int, list[ExecutionCounts]]:
    async with store:
        return await store.rebuild(), await store.statistics()


async def _spooled(store: PostgresStore) -> str:
    from gnomon.errors import StoreInUseError

    try:
        events, size = await store.spooled()
    except StoreInUseError:
        return "a kernel uses the spool: its health shows how many events wait"
    return f"{events:,} events wait in the spool, {size:,} bytes"


def _store(ctx: click.Context, named: Path | None) -> PostgresStore:
    return cast("PostgresStore", find_server_store(ctx, named, "postgres"))
