"""Statistics of every job: how its executions end and how long they take, for ever.

    [plugins.stats]
    timezone = "Asia/Shanghai"   # where days begin at midnight; default UTC

They are a fold over the log, kept in the store beside it: what retention forgets stays counted. `gnomon stats` shows
them and proves them against the log. In Python: `StatsPlugin.of_job(job_id)`.
"""

from gnomon_stats.plugin import StatsPlugin
from gnomon_stats.shape import CurrentStreak, DayStats, HourStats, JobStats, LastExecution

__all__ = ["CurrentStreak", "DayStats", "HourStats", "JobStats", "LastExecution", "StatsPlugin"]
