"""Claims to limited uses of a name, in all processes on a log, as far as a kernel leads that can count them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from gnomon import GnomonError, KernelApi

LIMIT_S = 2.0
"""Seconds that a claim waits for a kernel that leads."""
SILENCE_S = 5.0
"""Seconds in which nothing is claimed after a kernel that leads was not reached, so that not every login waits."""
MOST_USED = 10_000
"""Values that a process remembers as used."""


class SharedClaims:
    """Counts at the kernel that leads. Where none does, nothing is refused: the callers count by themselves as well."""

    def __init__(self, kernel: KernelApi) -> None:
        self.clock = kernel.clock
        self._kernel = kernel
        self._silent_until = float("-inf")

    async def claim(self, name: str, limit: int, period_s: float, uses: int = 1) -> float:
        """Claim a use, or look whether one is free; return 0, or the seconds to wait."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._silent_until:
            return 0.0
        try:
            async with asyncio.timeout(LIMIT_S):
                return await self._kernel.claim(f"web:{name}", limit=limit, period_s=period_s, uses=uses)
        except (GnomonError, TimeoutError):
            self._silent_until = loop.time() + SILENCE_S
            return 0.0


class SingleUse:
    """Values that may be used once, in all processes. Where nobody leads, each process accepts a value once."""

    def __init__(self, claims: SharedClaims, purpose: str, period_s: float) -> None:
        self._claims = claims
        self._purpose = purpose
        self._period_s = period_s
        self._used: OrderedDict[str, None] = OrderedDict()

    async def use(self, value: str) -> bool:
        """Use a value, which is not valid after the period anyway; false where it was used before."""
        if value in self._used:
            return False
        self._used[value] = None
        while len(self._used) > MOST_USED:
            self._used.popitem(last=False)
        return await self._claims.claim(f"{self._purpose}:{value}", 1, self._period_s) == 0
