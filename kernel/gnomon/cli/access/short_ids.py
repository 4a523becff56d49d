"""Ids of runs as lists show them in a narrow terminal: their beginnings, which commands take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnomon.cli.access.resolve import ReachedKernel
    from gnomon.domain.execution import Execution

SHORT_ID = 12
"""Characters of an id in a narrow table: 4 bytes of time and 2 of hash."""
WHOLE_ID = 24
RECENT = 1000
"""Newest runs among which a shortened id is looked for."""


async def find_run(kernel: ReachedKernel, wanted: str) -> Execution:
    """Return the run with that id, or whose id begins so; UnknownExecutionError."""
    from gnomon.domain.records import ExecutionQuery
    from gnomon.errors import UnknownExecutionError

    if len(wanted) >= WHOLE_ID:
        return await kernel.execution(wanted)
    found = only_match(wanted, (await kernel.executions(ExecutionQuery(limit=RECENT))).items)
    if found is None:
        raise UnknownExecutionError(wanted)
    return found


def only_match(wanted: str, recent: Sequence[Execution]) -> Execution | None:
    """Find the run whose id begins so; a UsageError lists them where they are several."""
    found = [execution for execution in recent if wanted and execution.id.startswith(wanted)]
    if len(found) > 1:
        some = "\n".join(f"  {one.id}  {one.job_id}  {one.status}" for one in found[:10])
        raise click.UsageError(f"{wanted!r} is the beginning of {len(found)} ids; give more of it:\n{some}")
    return found[0] if found else None
