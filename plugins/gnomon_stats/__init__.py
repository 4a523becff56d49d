"""Statistics of every job: how its executions end and how long they take, for ever.

    [plugins.stats]
    timezone = "Asia/Shanghai"   # where days begin at midnight; default UTC

They are a fold over the log, kept in the store beside it: what retention forgets stays counted. `gnomon stats` shows
them and proves them against the log. In Python: `StatsPlugin.of_job(job_id)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon_stats.plugin import StatsPlugin
    from gnomon_stats.shape import CurrentStreak, DayStats, HourStats, JobStats, LastExecution

__all__ = ["CurrentStreak", "DayStats", "HourStats", "JobStats", "LastExecution", "StatsPlugin"]


def __getattr__(name: str) -> Any:
    # Not imported before they are used: `gnomon --help` imports the command only.
    if name not in __all__:
        raise AttributeError(f"module 'gnomon_stats' has no attribute {name!r}")
    home = "plugin" if name == "StatsPlugin" else "shape"
    return getattr(importlib.import_module(f"gnomon_stats.{home}"), name)
