"""The kernel on this machine: asked over its control socket, looked at in its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

from gnomon.cli.access.deployments import assemble_store, readable, reading
from gnomon.cli.access.resolve import Standing
from gnomon.cli.output.job_lines import JobLine, job_lines
from gnomon.cli.output.states import zone_of
from gnomon.control_socket import Command, GetHealth, control_path, send
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import Config
from gnomon.domain.estimates import TYPICAL_RUNS, timing
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.records import ActionPage, ActionQuery, ExecutionQuery, LogLine, Page
from gnomon.errors import UnknownExecutionError
from gnomon.ports import Store

LOOK = 0.2
"""Seconds between two looks into the log."""
LOOKS_BETWEEN_CALLS = 25
"""A kernel that is gone writes no ends: so many looks into the log after another it is asked whether it is there."""


class LocalKernel:
    """The deployment on this machine: its log, and the kernel that runs it, if one does."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._open: Store | None = None
        self._opened = AsyncExitStack()

    @property
    def zone(self) -> tzinfo:
        return zone_of(self.config.kernel.timezone)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._opened.aclose()
        self._open = None

    async def log(self, store: Store | None = None) -> Store:
        """Return the log, to be read; it is opened at the first call. `store` is one that was assembled already."""
        if self._open is None:
            store = readable(store) if store is not None else assemble_store(self.config)
            self._open = await self._opened.enter_async_context(reading(store))
        return self._open

    async def ask(self, command: Command) -> Any:
        return await asyncio.to_thread(send, command, control_path(self.config))

    # --- looking ---

    async def jobs(self) -> list[JobLine]:
        deployment = assemble(self.config)
        return await job_lines(deployment.jobs, await self.log(deployment.store), datetime.now(UTC))

    async def executions(self, query: ExecutionQuery) -> Page:
        return await (await self.log()).executions(query)

    async def execution(self, execution_id: str) -> Execution:
        if (execution := await (await self.log()).execution(execution_id)) is None:
            raise UnknownExecutionError(execution_id)
        return execution

    async def history(self, execution_id: str) -> list[Event]:
        return await (await self.log()).stream(execution_id)

    async def lines(self, execution_id: str, after: int, limit: int) -> list[LogLine]:
        return await (await self.log()).log(execution_id, after, limit)

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await (await self.log()).actions(query)

    # --- following ---

    async def follow(self, execution_id: str) -> AsyncIterator[Standing]:
        execution = await self.execution(execution_id)
        past = await self.executions(ExecutionQuery(job_id=execution.job_id, status=("success",), limit=TYPICAL_RUNS))
        looks = 0
        while True:
            yield Standing(execution.progress, timing(execution, past.items, datetime.now(UTC)))
            if execution.is_over:
                return
            await asyncio.sleep(LOOK)
            looks += 1
            if looks % LOOKS_BETWEEN_CALLS == 0:
                await self.ask(GetHealth())
            execution = await self.execution(execution_id)

    async def events(self, job_id: str | None) -> AsyncIterator[Event]:
        log = await self.log()
        position = await log.head()
        while True:
            for event in await log.read(position):
                position = event.position
                if job_id in {None, event.job_id}:
                    yield event
            await asyncio.sleep(LOOK)
