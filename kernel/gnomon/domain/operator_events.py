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


class BackfillStarted(JobEvent, frozen=True, kw_only=True, tag="backfill_started"):
    """An operator ordered the runs of a job for the fires of its schedule from `since` to `until`, both included.

    Times that have a success are left out, unless `rerun` is true. With `overlap` runs need not wait for the ones
    before. `rate` limits how many start in a time, such as "10/m". `fires` is the number of fires; 0 is unknown, from a
    version that did not record it.
    """

    since: datetime
    until: datetime
    overlap: bool = False
    rerun: bool = False
    rate: str | None = None
    fires: int = 0


class BackfillEnded(JobEvent, frozen=True, kw_only=True, tag="backfill_ended"):
    """A backfill is over. `runs` were accepted and `left_out` times were not needed, since its kernel started.

    `is_complete` is false where it was stopped before.
    """

    runs: int
    left_out: int
    is_complete: bool = True


class KernelHeld(KernelEvent, frozen=True, kw_only=True, tag="kernel_held"):
    """An operator holds all fires back until `kernel_released`, also under kernels that start meanwhile."""

    actor: str | None = None
    reason: str | None = None


class KernelReleased(KernelEvent, frozen=True, kw_only=True, tag="kernel_released"):
    """Fires go on; those that were held back get their outcome now."""

    actor: str | None = None
    reason: str | None = None


HoldFact = KernelHeld | KernelReleased
OperatorFact = FireSkipped | BackfillStarted | BackfillEnded
