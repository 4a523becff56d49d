"""Statistics of every job: how its executions end and how long they take, without a time limit.

    [plugins.stats]
    timezone = "Asia/Shanghai"   # where days begin at midnight; default UTC

They are a projection of the log, saved in the store beside it: what retention deletes stays counted. `gnomon stats`
shows them and verifies them against the log. In Python: `StatsPlugin.of_job(job_id)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon_stats.plugin import StatsPlugin

__all__ = ["StatsPlugin"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `gnomon --help` imports the command only.
    if name != "StatsPlugin":
        raise AttributeError(f"module 'gnomon_stats' has no attribute {name!r}")
    return importlib.import_module("gnomon_stats.plugin").StatsPlugin
