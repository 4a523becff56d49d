"""`gnomon status`: show which kernels run, which one leads, and whether everything is well."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from gnomon.cli.access.deployment_status import DeploymentStatus, KernelStatus
    from gnomon.domain.workers import WorkerView


SHOWN_LAG_S = 1.0
"""Age of the events that a process has not read at its last report, from which on its lag is shown."""


@click.command("status")
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, as_json: bool) -> None:
    """Show the kernels on the log, and the state of the store, the plugins and the workers.

    The kernel that leads is asked; without one, the log says when and why the last one stopped, and processes that
    follow are shown. Exits with 0 while a kernel leads and nothing needs attention, else with 1: a problem of a kernel,
    the store or a plugin, a process that follows and lags or is silent, runs that wait in a queue without a worker, or
    no kernel that leads.
    """
    from gnomon.cli import EXIT_FAILURE
    from gnomon.cli.access.deployment_status import read_status
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.output.json_output import print_json
    from gnomon.scheduling.timezones import timezone_or_utc

    settings = read_config(ctx, config)
    status = asyncio.run(read_status(settings))
    if as_json:
        print_json(status)
    else:
        _print(status, timezone_or_utc(settings.kernel.timezone))
    if not status.is_well:
        ctx.exit(EXIT_FAILURE)


def _print(status: DeploymentStatus, zone: tzinfo) -> None:
    from gnomon.text import moment

    echo(f"state    {status.state}" + (f": {status.problem}" if status.problem else ""))
    for kernel in status.kernels:
        words = f"process {kernel.pid} on {kernel.node}, version {kernel.versions.get('gnomon', 'unknown')}"
        words += f", revision {kernel.revision}" if kernel.revision is not None else ""
        echo(f"kernel   {kernel.role or 'gone'}: {words}, since {moment(kernel.since, zone)}{_follows(kernel, zone)}")
        if kernel.role == "follower" and kernel.problem is not None:  # that of the leader is said in the first line
            echo(f"         {kernel.state}: {kernel.problem}")
        if kernel.stopped is not None:
            echo(f"         stopped at {moment(kernel.stopped, zone)}: {kernel.reason}")
    if status.store is not None:
        store = status.store
        echo(f"store    {store.name}" + (f", {store.state}" if store.state else "") + f", event {store.position:,}")
    if status.running is not None:
        echo(f"runs     {status.running} running, {status.waiting} waiting")
    for plugin in status.plugins:
        behind = f", {plugin.lag:,} events behind" if plugin.lag else ""
        about = plugin.problem or plugin.note
        echo(f"plugin   {plugin.name}: {plugin.state}{behind}" + (f": {about}" if about else ""))
    for line in _workers(status.workers) if status.workers is not None else ():
        echo(line)


def _workers(view: WorkerView) -> Iterator[str]:
    """Yield a line for each worker elsewhere, and for each queue; `gnomon workers` shows more."""
    for worker in view.workers:
        load = f"{worker.active} of {worker.concurrency}" if worker.concurrency is not None else str(worker.active)
        yield f"worker   {worker.name}: {worker.state}, {load} busy, queues {', '.join(worker.queues) or 'none'}"
    for queue in view.queues:
        workers = f"{queue.workers or 'no'} worker{'s' * (queue.workers != 1)}"
        yield f"queue    {queue.name}: {workers}, {queue.waiting:,} run{'s' * (queue.waiting != 1)} waiting"


def _follows(kernel: KernelStatus, zone: tzinfo) -> str:
    """Return how far a kernel that follows is behind, and when it was last seen."""
    from gnomon.text import moment

    if kernel.role != "follower" or kernel.seen is None:
        return ""
    is_behind = bool(kernel.lag and kernel.lag_s and kernel.lag_s >= SHOWN_LAG_S)
    behind = f", {kernel.lag:,} {'event' if kernel.lag == 1 else 'events'} behind" if is_behind else ""
    return f"{behind}, last seen {moment(kernel.seen, zone, seconds=True)}"
