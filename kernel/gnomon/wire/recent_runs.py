"""The newest runs of a job, as a list of jobs shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import msgspec

from gnomon.domain.execution import Execution, Status


class RecentRun(msgspec.Struct, kw_only=True):
    """A short record of a run; `delay` is the number of seconds between the due time and the start.

    A missed one may stand for `count` fires.
    """

    id: str = msgspec.field(name="_id")
    status: Status
    timestamp: datetime
    execution_time: float | None = None
    delay: float | None = None
    is_manual: bool = False
    count: int = 1

    @classmethod
    def of(cls, execution: Execution) -> Self:
        """Summarize an execution."""
        return cls(**{name: getattr(execution, name) for name in cls.__struct_fields__})
