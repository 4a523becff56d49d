"""Reaper: ends runs that give no sign of life any more, and warns before it does.

    [plugins.reaper]
    threshold = "30m"

A sign of life is each call of the context, and each line that a run logs or prints. A job that is silent for longer by
nature sets a `silence` of its own, and the kernel ends its runs by that.
"""

from gnomon_reaper.plugin import ReaperPlugin

__all__ = ["ReaperPlugin"]
