"""The events of the log that a connection may see: all, or those about the jobs of a limited token."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon import Event, KernelApi
from gnomon.domain.events import JobEvent
from gnomon_web.auth.scoped_kernel import ScopedKernel
from gnomon_web.live.tail import Slice


class VisibleEvents:
    """Leaves out of slices of the log what a limited token may not see.

    A job may come into a scope and leave it with its tags. The event by which it leaves, or is removed, is still shown.
    """

    def __init__(self, kernel: KernelApi) -> None:
        self._kernel = kernel if isinstance(kernel, ScopedKernel) else None
        self._known: dict[str, bool] | None = None

    async def of(self, part: Slice) -> Slice:
        """Return the slice, which all connections share, or one of its own for a limited token."""
        if self._kernel is None:
            return part
        wanted = await self._wanted([entry.event for entry in part.entries])
        entries = [entry for entry, is_wanted in zip(part.entries, wanted, strict=True) if is_wanted]
        return Slice(part.after, part.upto, entries)

    async def still_show(self, job_id: str, part: Slice) -> bool:
        """Whether a limited token may still see a job after a slice, in which its tags may have changed."""
        if self._kernel is None or not any(
            isinstance(entry.event, JobEvent) and entry.event.job_id == job_id for entry in part.entries
        ):
            return True
        return await self._kernel.has(job_id)

    async def _wanted(self, events: Sequence[Event]) -> list[bool]:
        assert self._kernel is not None  # noqa: S101 - asked only then
        if self._known is None:  # the jobs of now, so that the removal of one of them is shown
            self._known = {view.job.id: True for view in await self._kernel.jobs()}
        wanted = []
        for event in events:
            is_wanted = event.job_id != "" and (await self._has(self._kernel, event.job_id))
            if isinstance(event, JobEvent):
                self._known.pop(event.job_id, None)
                is_wanted = is_wanted or (event.job_id != "" and await self._has(self._kernel, event.job_id))
            wanted.append(is_wanted)
        return wanted

    async def _has(self, kernel: ScopedKernel, job_id: str) -> bool:
        known = self._known if self._known is not None else {}
        if job_id not in known:
            known[job_id] = await kernel.has(job_id)
        return known[job_id]
