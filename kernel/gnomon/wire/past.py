"""What the log knows about a moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class EventMark(msgspec.Struct, kw_only=True):
    """An event of the log; its `job_id` is empty for a fact about a kernel."""

    at: datetime
    position: int
    type: str
    job_id: str


class PastHold(msgspec.Struct, kw_only=True):
    """Who held the fires of all jobs back, since when and why."""

    since: datetime
    actor: str | None = None
    reason: str | None = None


class PastReport(msgspec.Struct, kw_only=True):
    """The state after the event at `position`, the last one that is not later than `at`.

    The log begins at `begins_at`. `lost` counts the events around the moment, and after it, that retention has deleted:
    then runs of that time are missing. `before` and `after` are the events beside the moment; null for none, or for one
    that the caller may not see. `jobs`, `paused`, `running` and `scheduled` are counts. `leader` is the process that
    led. `now` is the present time. `failures` and `snapshot` are there on request.
    """

    at: datetime
    position: int
    begins_at: datetime
    lost: int
    before: EventMark | None
    after: EventMark | None
    leader: str | None
    hold: PastHold | None
    jobs: int
    paused: int
    running: int
    scheduled: int
    now: datetime
    failures: list[int] = []
    snapshot: Any = None
