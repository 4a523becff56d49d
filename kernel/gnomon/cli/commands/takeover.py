"""`gnomon takeover`: end the term of a kernel that cannot be stopped, so that another one may lead."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.domain.records import LogHolder
    from gnomon.ports import Store

FREE = "no kernel holds the log: a start needs no takeover"


@click.command("takeover")
@config_option
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask for confirmation.")
@click.pass_context
def command(ctx: click.Context, config: Path | None, is_confirmed: bool) -> None:
    """End the term of a kernel that no longer responds, so that another kernel may lead.

    The command watches the kernel until it is certain that it is silent, says what will happen, and asks. A kernel that
    is active is not replaced: stop it instead. Start a kernel afterwards, unless a standby waits.

    A SQLite log: the process that holds it, which was stopped (SIGSTOP) or hangs, is killed. A log on a server whose
    kernel has `cut_off = "run"`: it may run jobs while it is cut off from the server, so no kernel replaces it by
    itself. See to it first that it does not run any more.
    """
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.access.stored_log import find_store

    store = find_store(read_config(ctx, config))
    holder = asyncio.run(_look(store))
    if holder is None:
        echo(FREE)
        return
    _explain(holder)
    if not is_confirmed and not click.confirm("Take the log from it?", err=True):
        raise click.Abort
    asyncio.run(_take(store, holder))
    echo("the log is free: start a kernel now, unless a standby waits")


async def _look(store: Store) -> LogHolder | None:
    echo("looking whether the kernel is active ...", err=True)
    return await store.holder()


async def _take(store: Store, holder: LogHolder) -> None:
    await store.take_over(holder)


def _explain(holder: LogHolder) -> None:
    from gnomon.errors import StoreInUseError

    if holder.is_active:
        raise StoreInUseError(f"{holder.log} is led by {holder.name}, which is active: stop it there instead")
    echo(f"{holder.log} is led by {holder.name}, which has been silent for {holder.silent_s:.0f} s.", err=True)
    for line in holder.consequences:
        echo(f"- {line}", err=True)
