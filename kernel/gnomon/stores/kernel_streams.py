"""Which streams of facts about kernels are over, so that retention may delete them: the same for every store.

A kernel has a stream for its start and stop, and one for each day of its logins and of the acts that it refused. Each
is deleted as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from gnomon.domain.events import KERNEL_STREAM, Event, KernelStarted
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact
from gnomon.stores.schedule_versions import computes_fires

FIRST: Final = KERNEL_STREAM
AFTER_LAST: Final = KERNEL_STREAM[:-1] + chr(ord(KERNEL_STREAM[-1]) + 1)
"""Names of streams of kernels lie between these two in the order of their characters."""


class Deletable(msgspec.Struct, frozen=True):
    """Decides about streams of kernels, at a retention that deletes what ended before a moment.

    `kept` are the streams that explain the oldest fires that are left: of the kernel that was up at that moment, and of
    the one whose versions computed those fires.
    """

    before: datetime
    kept: frozenset[str]

    def has(self, stream: str, newest_at: datetime, newest_stream: str) -> bool:
        """Return whether a stream may be deleted; `newest_stream` is the one with the last fact in the log.

        The kernel of that one may be running. Its stream stays, and so does that of a day which may not be over.
        """
        if stream in self.kept or stream == newest_stream:
            return False
        kernel = _stream_of_kernel(newest_stream)
        if stream == kernel:
            return False
        if _stream_of_kernel(stream) == kernel:
            midnight = self.before.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            return newest_at < midnight
        return newest_at < self.before


async def find_deletable(store: Store, before: datetime) -> Deletable:
    """Read what has to stay, and return what decides about the rest."""
    wanted: tuple[Callable[[Event], bool], ...] = (lambda event: isinstance(event, KernelStarted), computes_fires)
    starts = [await newest_kernel_fact(store, before, one) for one in wanted]
    return Deletable(before, frozenset(start.stream for start in starts if start is not None))


def _stream_of_kernel(stream: str) -> str:
    kernel_id, _, _ = stream.removeprefix(KERNEL_STREAM).partition(":")
    return KERNEL_STREAM + kernel_id
