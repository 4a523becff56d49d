"""What `gnomon mongo ...` and `gnomon postgres ...` have in common: the store of a config, what they do and print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gnomon.cli.output.console import echo
from gnomon.text import length

if TYPE_CHECKING:
    from gnomon.domain.records import ExecutionCounts
    from gnomon.ports import Store
    from gnomon_shared_log.shared_log import SharedLog

SHOWN = 20
"""How many differing runs are listed."""


def find_server_store(ctx: click.Context, named: Path | None, section: str) -> Store:
    """Return the store of a config; raise ConfigError if it is not the one of the plugin `section`."""
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.access.stored_log import find_store
    from gnomon.errors import ConfigError

    config = read_config(ctx, named)
    store = find_store(config)  # names the extra to install if the driver is missing
    if section not in config.sections:
        raise ConfigError([f"{config.source or 'the built-in example'} keeps its log in another store: {store.name}"])
    return store


def print_statistics(statistics: Sequence[ExecutionCounts]) -> None:
    """Print one line for each job."""
    width = max((len(job.job_id) for job in statistics), default=0)
    for job in statistics:
        counts = ", ".join(f"{count:,} {status}" for status, count in job.by_status.items())
        mean = f"; {length(job.average_execution_time)} on average" if job.average_execution_time is not None else ""
        last = f"last {job.last_status} {job.last_timestamp:%Y-%m-%d %H:%M:%S} UTC"
        echo(f"{job.job_id:{width}}  {counts}{mean}; {last}")


class Comparison(NamedTuple):
    """The views of runs beside their events: those that differ, those without events, and the statistics of jobs."""

    different: list[str]
    unproved: list[str]
    statistics: list[ExecutionCounts]

    @property
    def is_right(self) -> bool:
        """Whether every view is what its events say."""
        return not self.different and not self.unproved


async def compare_views(store: SharedLog[Any]) -> Comparison:
    """Compare the views of an open store with the log; NoLogError where it has no event."""
    from gnomon.errors import NoLogError

    if not await store.head():
        raise NoLogError("the log has no event, so there is nothing to compare: start a kernel with it first")
    return Comparison(await store.differences(), await store.without_events(), await store.statistics())


def print_comparison(found: Comparison, section: str) -> None:
    """Print the statistics, the runs whose views differ from their events, and those without events."""
    print_statistics(found.statistics)
    for execution_id in found.different[:SHOWN]:
        echo(f"✘ {execution_id}: its view differs from its events")
    for execution_id in found.unproved[:SHOWN]:
        echo(f"✘ {execution_id}: the log has no event of it")
    runs = sum(job.total for job in found.statistics)
    if found.is_right:
        echo(f"\nthe views of all {runs:,} runs match their events", err=True)
    if found.different:
        advice = f"stop the kernel, then run `gnomon {section} rebuild`"
        echo(f"\n{len(found.different):,} of {runs:,} runs differ from their events: {advice}", err=True)
    if found.unproved:
        echo(f"\n{len(found.unproved):,} of {runs:,} runs have no events, which would prove them", err=True)


def rebuild_views(store: SharedLog[Any]) -> None:
    """Rebuild all views of a log, and print the statistics of its jobs."""
    import asyncio

    async def rebuild() -> tuple[int, list[ExecutionCounts]]:
        async with store:
            return await store.rebuild(), await store.statistics()

    folded, statistics = asyncio.run(rebuild())
    print_statistics(statistics)
    echo(f"\n{folded:,} events folded into {sum(job.total for job in statistics):,} runs", err=True)


async def describe_spool(store: SharedLog[Any]) -> str:
    """Return how many events wait in the spool, in words."""
    from gnomon.errors import StoreInUseError

    try:
        events, size = await store.spooled()
    except StoreInUseError:
        return "a kernel uses the spool: its health shows how many events wait"
    return f"{events:,} events wait in the spool, {size:,} bytes"
