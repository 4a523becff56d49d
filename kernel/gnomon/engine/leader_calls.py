"""Calls of a kernel that only the process that leads can answer: integrations post to objects that it returns."""

from __future__ import annotations

from gnomon.engine.attached_schedulers import AttachedScheduler
from gnomon.engine.leader import Leader
from gnomon.engine.passed_calls import PassedCalls
from gnomon.errors import GnomonError


class LeaderCalls(PassedCalls):
    """The part of `Kernel` for schedulers that it does not run."""

    async def attach_scheduler(self, source: str) -> AttachedScheduler:
        """Return the recorder of a scheduler that the kernel does not run; `source` is its name in the log.

        Call its methods on the kernel's loop. GnomonError where a scheduler with that name is attached.
        """
        return await (await self._leading("attach a scheduler")).attach_scheduler(source)

    async def sync_attached(self) -> None:
        """Return when what integrations have posted before is recorded and durable."""
        await (await self._leading("synchronise an attached scheduler")).sync_attached()

    async def detach_scheduler(self, scheduler: AttachedScheduler, reason: str) -> None:
        """Remove the jobs of a scheduler, end its open runs as lost, and return when that is durable."""
        await (await self._leading("detach a scheduler")).detach_scheduler(scheduler, reason)

    async def _leading(self, what: str) -> Leader:
        await self.settle()
        if isinstance(self.part, Leader):
            return self.part
        raise GnomonError(f"this kernel follows another one and cannot {what}: do it in the process that leads")
