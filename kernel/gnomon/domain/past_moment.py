"""A moment of the log, and what the log still keeps of it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gnomon.domain.event_base import Event


class PastMoment(msgspec.Struct, frozen=True):
    """A moment of the log, and the position that it stands for: that of the last event which is not later.

    The log begins at `begins_at`. `lost` counts the events around the moment, and after it, that retention has deleted:
    then runs of that time are missing. `before` and `after` are the events beside the moment; None for no later one.
    """

    at: datetime
    position: int
    begins_at: datetime
    lost: int
    before: Event
    after: Event | None = None
