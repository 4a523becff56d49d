"""The commands for what plugins of several processes share: views that each may change, and uses that are limited."""

from __future__ import annotations

import asyncio
from functools import cached_property

from gnomon.domain.records import Checkpoint
from gnomon.engine.claims import Claims
from gnomon.engine.components import KernelComponents
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.errors import GnomonError, StoreUnavailableError
from gnomon.plugins.store_health import health_of


class SharedValues(KernelComponents):
    """The part of KernelApi that processes on a log use to agree; see there for each method."""

    @cached_property
    def _claims(self) -> Claims:
        return Claims(self.clock)

    @cached_property
    def _replacing(self) -> asyncio.Lock:
        return asyncio.Lock()

    @on_kernel_loop
    async def save_checkpoint(self, name: str, checkpoint: Checkpoint, *, replaces: int | None = None) -> bool:
        async with self._replacing:
            if replaces is None:
                await self._store.save_checkpoint(name, checkpoint)
                return True
            return await self._replace(name, checkpoint, replaces)

    async def _replace(self, name: str, checkpoint: Checkpoint, replaces: int) -> bool:
        """Save a checkpoint in place of one position; true also where an equal one is there, as after a repeat."""
        before = health_of(self._store)
        kept = await self._store.checkpoint(name)
        if kept != checkpoint:
            if (kept.position if kept is not None else 0) != replaces:
                return False
            await self._store.save_checkpoint(name, checkpoint)
            kept = await self._store.checkpoint(name)  # a leader that was deposed meanwhile has not saved it
        now = health_of(self._store)
        if now.backlog or (now.state == "degraded" and now.problem != before.problem):
            # Durable in this process, which passes it on later; the others do not see it yet.
            raise StoreUnavailableError(f"the checkpoint {name!r} is not shared yet: {now.problem}")
        return kept == checkpoint

    @on_kernel_loop
    async def claim(self, name: str, *, limit: int = 1, period_s: float, uses: int = 1) -> float:
        if limit < 1 or period_s <= 0:
            raise GnomonError(f"claim {name!r}: limit and period_s must be greater than 0, got {limit} and {period_s}")
        if uses not in {0, 1}:
            raise GnomonError(f"claim {name!r}: uses must be 1, or 0 to look, got {uses}")
        return self._claims.claim(name, limit, period_s, uses)
