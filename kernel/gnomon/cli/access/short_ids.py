"""Shortened execution ids: narrow tables show only the beginning of an id, and commands accept it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gnomon.cli.access.reached_kernel import ReachedKernel
    from gnomon.domain.execution import Execution

SHORT_ID_LENGTH = 12
"""Characters of an id in a narrow table: 4 bytes of time and 2 of hash."""
FULL_ID_LENGTH = 24
SEARCHED_RUNS = 1000
"""Newest runs among which a shortened id is looked up."""


async def find_run(kernel: ReachedKernel, wanted: str) -> Execution:
    """Return the run with that id, or the one whose id starts with the given prefix.

    Raise UnknownExecutionError if there is none.
    """
    from gnomon.domain.records import ExecutionQuery
    from gnomon.errors import UnknownExecutionError

    if len(wanted) >= FULL_ID_LENGTH:
        return await kernel.execution(wanted)
    found = only_match(wanted, (await kernel.executions(ExecutionQuery(limit=SEARCHED_RUNS))).items)
    if found is None:
        raise UnknownExecutionError(wanted)
    return found


def only_match(wanted: str, recent: Sequence[Execution]) -> Execution | None:
    """Return the run whose id starts with the given prefix; raise UsageError, listing them, if there are several."""
    found = [execution for execution in recent if wanted and execution.id.startswith(wanted)]
    if len(found) > 1:
        matches = "\n".join(f"  {one.id}  {one.job_id}  {one.status}" for one in found[:10])
        raise click.UsageError(f"{wanted!r} matches {len(found)} ids; give more characters:\n{matches}")
    return found[0] if found else None
