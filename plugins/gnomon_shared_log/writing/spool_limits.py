"""How much may wait in the spool, and for how long, before no new runs are started."""

from __future__ import annotations

import time
from datetime import timedelta

import msgspec

from gnomon_shared_log.ports.batch import B
from gnomon_shared_log.writing.spool import Spool


class SpoolLimits(msgspec.Struct, frozen=True):
    """How many bytes may wait in the spool, and for how long, before no new runs are started."""

    size: int = 256 * 1024 * 1024
    age: timedelta = timedelta(days=1)

    def reached_by(self, spool: Spool[B]) -> str | None:
        """Return why no new runs may be started, or None."""
        if spool.size > self.size:
            return f"no runs are started: the spool has {spool.size:,} bytes, `spool_limit` is {self.size:,}"
        if spool.oldest is not None and time.time() - spool.oldest > self.age.total_seconds():
            return f"no runs are started: the first event has waited for longer than the {self.age} of `spool_age`"
        return None
