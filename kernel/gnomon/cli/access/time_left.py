"""How long running executions still need, as the kernel or the log tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing

from gnomon.cli.access.reached_kernel import ReachedKernel
from gnomon.domain.execution import Execution
from gnomon.errors import GnomonError
from gnomon.text import span

MOST_RUNS = 20
"""Running executions of a list with an estimate: each takes its own request."""


async def times_left(kernel: ReachedKernel, executions: Iterable[Execution]) -> dict[str, str]:
    """Return `2 to 3 m left` by execution, for those that run and about which that is known."""
    running = [one.id for one in executions if one.status == "running" and not one.cancel_requested][:MOST_RUNS]
    found = await asyncio.gather(*(_time_left(kernel, execution_id) for execution_id in running))
    return {execution_id: text for execution_id, text in zip(running, found, strict=True) if text is not None}


async def _time_left(kernel: ReachedKernel, execution_id: str) -> str | None:
    try:
        async with aclosing(kernel.follow_run(execution_id)) as states:  # type: ignore[type-var]  # they are generators
            eta = (await anext(states)).timing.eta
    except (GnomonError, StopAsyncIteration):
        return None
    return f"{span(eta.low, eta.high)} left" if eta is not None else None
