"""What `gnomon mongo ...` and `gnomon postgres ...` have in common: the store of a config, and what they print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.domain.records import ExecutionCounts
    from gnomon.ports import Store

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
        mean = f"; {job.average_execution_time:.3g} s on average" if job.average_execution_time is not None else ""
        last = f"last {job.last_status} {job.last_timestamp:%Y-%m-%d %H:%M:%S} UTC"
        echo(f"{job.job_id:{width}}  {counts}{mean}; {last}")


def print_comparison(
    statistics: Sequence[ExecutionCounts], different: Sequence[str], unproved: Sequence[str], section: str
) -> None:
    """Print the statistics, the runs whose views differ from their events, and those without events."""
    print_statistics(statistics)
    for execution_id in different[:SHOWN]:
        echo(f"✘ {execution_id}: its view differs from its events")
    for execution_id in unproved[:SHOWN]:
        echo(f"✘ {execution_id}: the log has no event of it")
    runs = sum(job.total for job in statistics)
    if not different and not unproved:
        echo(f"\nthe views of all {runs:,} runs match their events", err=True)
    if different:
        advice = f"stop the kernel, then run `gnomon {section} rebuild`"
        echo(f"\n{len(different):,} of {runs:,} runs differ from their events: {advice}", err=True)
    if unproved:
        echo(f"\n{len(unproved):,} of {runs:,} runs have no events, which would prove them", err=True)
