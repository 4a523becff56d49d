"""A kernel elsewhere, asked over HTTP."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from gnomon.cli.steering import Standing
from gnomon.control import Cancel, Command, Pause, Resume, Trigger
from gnomon.errors import GnomonError
from gnomon.events import Event
from gnomon.execution import Execution

if TYPE_CHECKING:
    from gnomon.client import Client

TOKEN = "GNOMON_TOKEN"  # noqa: S105 - the variable's name


class RemoteKernel:
    """The kernel at an address; $GNOMON_TOKEN says who asks: what is on a command line, everybody can see."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _client(self) -> Client:
        try:
            from gnomon.client import Client
        except ModuleNotFoundError as exc:
            raise GnomonError(
                f"a kernel elsewhere is asked with the package {exc.name}: pip install 'gnomon[client]'"
            ) from exc
        return Client(self._url, token=os.environ.get(TOKEN) or None)

    async def ask(self, command: Command) -> Any:
        async with self._client() as client:
            match command:
                case Pause():
                    return not await _was_paused(client, command.job_id, pause=True, why=command.why)
                case Resume():
                    return await _was_paused(client, command.job_id, pause=False, why=command.why)
                case Trigger():
                    triggered = await client.trigger(
                        command.job_id,
                        kwargs=command.kwargs,
                        force=command.force,
                        resume=command.resume,
                        idempotency_key=command.idempotency_key,
                    )
                    return msgspec.to_builtins(triggered)
                case Cancel():
                    return msgspec.to_builtins(await client.cancel(command.execution_id, reason=command.reason))
                case _:
                    raise GnomonError("this can be asked of a kernel on this machine only")

    async def follow(self, execution_id: str) -> AsyncIterator[Standing]:
        async with self._client() as client, aclosing(client.follow(execution_id)) as frames:
            async for frame in frames:
                yield Standing(frame.view, frame.timing)

    async def execution(self, execution_id: str) -> Execution:
        async with self._client() as client:
            return await client.execution(execution_id)

    async def events(self, job_id: str | None) -> AsyncIterator[Event]:
        async with self._client() as client, aclosing(client.events(job_id=job_id)) as events:
            async for event in events:
                yield event


async def _was_paused(client: Client, job_id: str, *, pause: bool, why: str | None) -> bool:
    """Pause or resume a job, and tell how it was just before."""
    before = await client.job(job_id)
    await (client.pause if pause else client.resume)(job_id, reason=why)
    return before.paused
