"""The commands with which an integration attaches another scheduler to a running kernel."""

from __future__ import annotations

from gnomon.engine.attached_schedulers import AttachedScheduler
from gnomon.engine.components import KernelComponents
from gnomon.engine.log_queries import on_kernel_loop


class AttachmentCommands(KernelComponents):
    """The part of Kernel that gnomon.integrations uses; not in KernelApi, because plugins have no use for it."""

    @on_kernel_loop
    async def attach_scheduler(self, source: str) -> AttachedScheduler:
        """Return the recorder of a scheduler that the kernel does not run; `source` is its name in the log.

        Call its methods on the kernel's loop. GnomonError where a scheduler with that name is attached.
        """
        return self._attached.attach(source)

    @on_kernel_loop
    async def sync_attached(self) -> None:
        """Return when what integrations have posted before is recorded and durable."""
        await self._attached.settled()
        await self._durable()

    @on_kernel_loop
    async def detach_scheduler(self, scheduler: AttachedScheduler, reason: str) -> None:
        """Remove the jobs of a scheduler, end its open runs as lost, and return when that is durable."""
        await self._attached.detach(scheduler, reason)
        await self._durable()
