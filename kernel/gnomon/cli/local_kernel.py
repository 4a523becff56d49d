"""The kernel on this machine: asked over its control socket, looked at in its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Self

from gnomon.cli.deployments import assemble_store, reading
from gnomon.cli.short_ids import RECENT
from gnomon.cli.steering import Standing
from gnomon.config import Config
from gnomon.control import Command, GetHealth, control_path, send
from gnomon.errors import GnomonError, UnknownExecutionError
from gnomon.events import Event
from gnomon.execution import Execution
from gnomon.memory import MemoryStore
from gnomon.ports import ExecutionQuery, Store
from gnomon.timing import TYPICAL_RUNS, timing

LOOK = 0.2
"""Seconds between two looks into the log."""
LOOKS_BETWEEN_CALLS = 25
"""A kernel that is gone writes no ends: so many looks into the log after another it is asked whether it is there."""


class LocalKernel:
    """The kernel that runs a deployment, on this machine."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing is held between two words."""

    async def ask(self, command: Command) -> Any:
        return await asyncio.to_thread(send, command, control_path(self._config))

    def _store(self) -> Store:
        store = assemble_store(self._config)
        if isinstance(store, MemoryStore):
            raise GnomonError(
                "the log of this deployment is in its kernel's memory, where only the kernel sees it: serve it with "
                "the plugin web and use --url, or keep the log in a store such as sqlite"
            )
        return store

    async def follow(self, execution_id: str) -> AsyncIterator[Standing]:
        async with reading(self._store()) as log:
            execution = await _execution(log, execution_id)
            past = await log.executions(
                ExecutionQuery(job_id=execution.job_id, status=("success",), limit=TYPICAL_RUNS)
            )
            looks = 0
            while True:
                yield Standing(execution.progress, timing(execution, past.items, datetime.now(UTC)))
                if execution.is_over:
                    return
                await asyncio.sleep(LOOK)
                looks += 1
                if looks % LOOKS_BETWEEN_CALLS == 0:
                    await self.ask(GetHealth())
                execution = await _execution(log, execution_id)

    async def execution(self, execution_id: str) -> Execution:
        async with reading(self._store()) as log:
            return await _execution(log, execution_id)

    async def recent(self) -> list[Execution]:
        async with reading(self._store()) as log:
            return (await log.executions(ExecutionQuery(limit=RECENT))).items

    async def events(self, job_id: str | None) -> AsyncIterator[Event]:
        async with reading(self._store()) as log:
            position = await log.head()
            while True:
                for event in await log.read(position):
                    position = event.position
                    if job_id in {None, event.job_id}:
                        yield event
                await asyncio.sleep(LOOK)


async def _execution(log: Store, execution_id: str) -> Execution:
    if (execution := await log.execution(execution_id)) is None:
        raise UnknownExecutionError(execution_id)
    return execution
