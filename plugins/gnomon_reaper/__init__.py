"""Reaper: ends runs that have stopped giving signs of life, and warns before it does.

    [plugins.reaper]
    threshold = "30m"

Every call of the context and every line that a run logs or prints is a sign of life. A job that is normally silent for
longer sets its own `silence`, and the kernel ends its runs accordingly.
"""

from gnomon_reaper.plugin import ReaperPlugin

__all__ = ["ReaperPlugin"]
