"""`gnomon workers`: list the workers elsewhere that run bodies, and the queues in which runs wait for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from gnomon.cli.access.reached_kernel import ReachedKernel
    from gnomon.domain.workers import QueueState, WorkerState, WorkerView


@click.command("workers")
@config_option
@url_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, url: str | None, as_json: bool) -> None:
    """List the workers that run bodies on other machines, and the queues in which runs wait for them.

    Exits with 1 where runs wait in a queue without a worker, or where the workers cannot be listed, else with 0.
    """
    from gnomon.cli import EXIT_FAILURE
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json
    from gnomon.domain.workers import all_problems

    kernel = reach(ctx, config, url)
    view = asyncio.run(_read(kernel))
    if as_json:
        print_json(view)
    else:
        _print(view, kernel.zone)
    if all_problems(view):
        ctx.exit(EXIT_FAILURE)


async def _read(kernel: ReachedKernel) -> WorkerView:
    async with kernel:
        return await kernel.workers()


def _print(view: WorkerView, zone: tzinfo | None) -> None:
    from gnomon.domain.workers import all_problems

    if view.workers:
        _print_workers(view.workers, zone)
    if view.queues:
        echo("" if view.workers else "no worker has reported itself\n")
        _print_queues(view.queues, zone)
    if not (view.workers or view.queues or view.problems):
        echo("no workers: every body runs in the process of the kernel, or in one that it has started")
    for problem in all_problems(view):
        echo(f"\n{problem}", err=True)


def _print_workers(workers: Sequence[WorkerState], zone: tzinfo | None) -> None:
    from rich.text import Text

    from gnomon.cli.output.states import style_of, with_glyph
    from gnomon.cli.output.tables import Column, print_table
    from gnomon.text import moment

    columns = [
        Column("worker", 12),
        Column("state", 10, no_wrap=True),
        Column("runs", 5, no_wrap=True, right=True),
        Column("queues", 8),
        Column("runner", 6, 3),
        Column("pool", 7, 4),
        Column("process", 10, 2),
        Column("version", 7, 5),
        Column("last seen", 10, 1, no_wrap=True),
    ]
    rows = [
        (
            one.name,
            Text(with_glyph(one.state), style_of(one.state)),
            str(one.active) if one.concurrency is None else f"{one.active}/{one.concurrency}",
            ", ".join(one.queues) or "-",
            one.runner,
            one.pool or "-",
            one.node if one.pid is None else f"{one.pid} on {one.node}",
            one.versions.get("gnomon", "-"),
            moment(one.seen, zone),
        )
        for one in workers
    ]
    print_table(columns, rows)


def _print_queues(queues: Sequence[QueueState], zone: tzinfo | None) -> None:
    from gnomon.cli.output.tables import Column, print_table
    from gnomon.text import moment

    columns = [
        Column("queue", 12),
        Column("runner", 6, 2),
        Column("workers", 7, no_wrap=True, right=True),
        Column("waiting", 7, no_wrap=True, right=True),
        Column("messages", 8, 1, no_wrap=True, right=True),
        Column("waits since", 11, 3, no_wrap=True),
    ]
    rows = [
        (
            one.name,
            one.runner,
            str(one.workers),
            str(one.waiting),
            "-" if one.length is None else str(one.length),
            moment(one.oldest, zone),
        )
        for one in queues
    ]
    print_table(columns, rows)
