"""`gnomon postgres ...`: compares the views in the database with the log, and rebuilds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from gnomon.cli.input.options import config_option
from gnomon.cli.output.console import echo
from gnomon_shared_log.server_commands import (
    Comparison,
    compare_views,
    describe_spool,
    find_server_store,
    print_comparison,
    rebuild_views,
)

if TYPE_CHECKING:
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
    print_comparison(found, "postgres")
    if not found.is_right:
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


@command.command("spool")
@config_option
@click.pass_context
def spool(ctx: click.Context, config: Path | None) -> None:
    """Show how many events wait in the spool.

    The kernel of this machine writes them when the server can be reached again.
    """
    import asyncio

    echo(asyncio.run(describe_spool(_store(ctx, config))))


async def _verify(store: PostgresStore) -> Comparison:
    await store.open(read_only=True)
    try:
        return await compare_views(store)
    finally:
        await store.close()


def _store(ctx: click.Context, named: Path | None) -> PostgresStore:
    return cast("PostgresStore", find_server_store(ctx, named, "postgres"))
