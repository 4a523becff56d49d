"""The log lines of a run, read in pages and followed until the run has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gnomon.cli.access.reached_kernel import ReachedKernel
from gnomon.domain.records import LogLine

PAGE_SIZE = 1000
POLL_INTERVAL_S = 0.5
"""Pause between two reads of a run that is followed; a kernel flushes log lines four times a second."""


async def read_log_lines(kernel: ReachedKernel, execution_id: str, *, follow: bool) -> AsyncIterator[LogLine]:
    """Yield the lines that a run has logged; with `follow`, go on until the run has ended."""
    last = 0
    while True:
        execution = await kernel.execution(execution_id)  # before the lines, so that the last lines are not skipped
        while lines := await kernel.log_lines(execution_id, last, PAGE_SIZE):
            for line in lines:
                yield line
            last = lines[-1].number
        if not follow or execution.is_over:
            return
        await asyncio.sleep(POLL_INTERVAL_S)
