"""The events about operators' acts on single fires and on the whole kernel."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gnomon.domain.event_base import JobEvent, KernelEvent


class Hold(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who holds all fires of a log back, since when and why."""

    since: datetime
    actor: str | None = None
    reason: str | None = None

    @property
    def words(self) -> str:
        """The hold as a clause: `held since 2026-12-01 18:00 UTC by ann (maintenance)`."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"held since {self.since:%Y-%m-%d %H:%M} UTC by {self.actor or 'someone'}{reason}"


class FireSkipped(JobEvent, frozen=True, kw_only=True, tag="fire_skipped"):
    """An operator decided that a fire will not run; with `withdrawn`, that it will after all.

    The fire gets its outcome, missed, when it is due.
    """

    scheduled_time: datetime
    withdrawn: bool = False


class KernelHeld(KernelEvent, frozen=True, kw_only=True, tag="kernel_held"):
    """An operator holds all fires back until `kernel_released`, also under kernels that start meanwhile."""

    actor: str | None = None
    reason: str | None = None


class KernelReleased(KernelEvent, frozen=True, kw_only=True, tag="kernel_released"):
    """Fires go on; those that were held back get their outcome now."""

    actor: str | None = None
    reason: str | None = None


HoldFact = KernelHeld | KernelReleased
