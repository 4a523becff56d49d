"""Alerts that are folded from the log: opened, acknowledged, snoozed and resolved, each change an event.

    [plugins.alerts]                    # the default rules

    [[plugins.alerts.rules]]
    kind = "failed"
    tags = ["etl"]
    after = 3                           # three failures in a row
    severity = "critical"

`gnomon alerts` lists them and is a check for cron and CI; so does `GET /scheduler/alerts`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon_alerts.plugin import AlertsPlugin

__all__ = ["AlertsPlugin"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `gnomon --help` imports the command only.
    if name != "AlertsPlugin":
        raise AttributeError(f"module 'gnomon_alerts' has no attribute {name!r}")
    return importlib.import_module("gnomon_alerts.plugin").AlertsPlugin
