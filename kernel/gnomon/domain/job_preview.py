"""What a job's keys would do, before they take effect: their problems, and the fires that they gain and lose."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

PreviewedAction = Literal["add", "change", "keep"]


class KeyProblem(msgspec.Struct, frozen=True):
    """A problem of one key of a job, such as `retry.attempts`; `key` is empty where it is not a single one."""

    key: str
    detail: str

    def __str__(self) -> str:
        return f"{self.key}: {self.detail}" if self.key else self.detail


class KeyChange(msgspec.Struct, frozen=True):
    """A key of a definition whose value changes; null stands for a key that is not given."""

    key: str
    old: Any
    new: Any


class FireCount(msgspec.Struct):
    """Fires within a period: how many, and the first few."""

    count: int = 0
    first: list[datetime] = []


class JobPreview(msgspec.Struct, kw_only=True):
    """What a job's keys would do. With `problems` they do nothing.

    `action` says what happens to the job with that id; `changes` has the keys that differ from its present definition.
    `schedule` is in words, `next_run_times` are the next fires. `gained` and `lost` are fires from now until `until`, 7
    days ahead, or less for a schedule that fires very often. A paused job has these fires once it is resumed.
    `warnings` prevent nothing. `notes` say why a figure is less than certain.
    """

    ok: bool = False
    problems: list[KeyProblem] = []
    warnings: list[KeyProblem] = []
    id: str | None = None
    action: PreviewedAction | None = None
    paused: bool = False
    schedule: str = ""
    timezone: str | None = None
    next_run_times: list[datetime] = []
    changes: list[KeyChange] = []
    gained: FireCount = msgspec.field(default_factory=FireCount)
    lost: FireCount = msgspec.field(default_factory=FireCount)
    until: datetime | None = None
    notes: list[str] = []
