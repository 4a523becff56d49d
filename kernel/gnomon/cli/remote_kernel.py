"""A kernel elsewhere, asked over HTTP."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Self

import msgspec

from gnomon.cli.steering import Standing
from gnomon.control import Cancel, Command, Pause, Resume, Trigger
from gnomon.errors import GnomonError
from gnomon.events import Event
from gnomon.execution import Execution

TOKEN = "GNOMON_TOKEN"  # noqa: S105 - the variable's name

PAGE = 200
"""Runs that a server lists at once, at most."""


class RemoteKernel:
    """The kernel at an address; $GNOMON_TOKEN says who asks: what is on a command line, everybody can see."""

    def __init__(self, url: str) -> None:
        from gnomon.client import Client

        self._client = Client(url, token=os.environ.get(TOKEN) or None)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(None, None, None)

    async def ask(self, command: Command) -> Any:
        match command:
            case Pause():
                return not await self._was_paused(command, self._client.pause)
            case Resume():
                return await self._was_paused(command, self._client.resume)
            case Trigger():
                triggered = await self._client.trigger(
                    command.job_id,
                    kwargs=command.kwargs,
                    force=command.force,
                    resume=command.resume,
                    idempotency_key=command.idempotency_key,
                )
                return msgspec.to_builtins(triggered)
            case Cancel():
                return msgspec.to_builtins(await self._client.cancel(command.execution_id, reason=command.reason))
            case _:
                raise GnomonError("this can be asked of a kernel on this machine only")

    async def _was_paused(self, command: Pause | Resume, change: Callable[..., Awaitable[Any]]) -> bool:
        """Pause or resume a job, and tell how it was just before."""
        before = await self._client.job(command.job_id)
        await change(command.job_id, reason=command.why)
        return before.paused

    async def follow(self, execution_id: str) -> AsyncIterator[Standing]:
        async with aclosing(self._client.follow(execution_id)) as frames:
            async for frame in frames:
                yield Standing(frame.view, frame.timing)

    async def execution(self, execution_id: str) -> Execution:
        return await self._client.execution(execution_id)

    async def recent(self) -> list[Execution]:
        return (await self._client.executions(limit=PAGE)).items

    async def events(self, job_id: str | None) -> AsyncIterator[Event]:
        async with aclosing(self._client.events(job_id=job_id)) as events:
            async for event in events:
                yield event
