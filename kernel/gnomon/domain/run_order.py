"""One order of a list: which job to run, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

WhenFull = Literal["raise", "wait", "miss"]
"""What happens to an order whose job has no room in its queue: it is refused, it waits, or the run is recorded as
missed."""


class RunOrder(msgspec.Struct, frozen=True):
    """A job to run now, once, with the options of `KernelApi.trigger`."""

    job_id: str
    kwargs: Mapping[str, Any] = {}
    force: bool = False
    resume: bool = True
    idempotency_key: str | None = None
    labels: Mapping[str, str] = {}
