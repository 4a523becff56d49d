"""The runs that the reaper watches, as they are served over HTTP."""

from __future__ import annotations

import msgspec


class Watched(msgspec.Struct, frozen=True):
    """A run that the reaper watches; `quiet` is the seconds since its last sign of life."""

    execution_id: str
    job_id: str
    quiet: float
    warned: bool


class Watch(msgspec.Struct, frozen=True):
    """The watched runs, the quietest first, and the seconds of silence after which a run is warned about and ended."""

    warn_after: float
    end_after: float
    runs: list[Watched]
