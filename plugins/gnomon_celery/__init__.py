"""Bodies on other machines: a job with `runner = "celery"` runs in a Celery worker.

    [plugins.celery]
    broker = { env = "CELERY_BROKER" }
    channel = { env = "CELERY_CHANNEL" }

    [jobs.report]
    func = "reports:monthly"
    cron = "0 6 1 * *"
    runner = "celery"
    queue = "reports"

The kernel keeps time, decides and records; it sends a task to the broker, and the workers report through Redis streams.
Requires the extra `celery`; docs/how-to/celery.md describes how to scale out.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon_celery.config import CeleryConfig
    from gnomon_celery.plugin import CeleryPlugin

__all__ = ["CeleryConfig", "CeleryPlugin"]

_HOMES = {"CeleryConfig": "config", "CeleryPlugin": "plugin"}


def __getattr__(name: str) -> Any:
    # Imported on first use: `gnomon --help` imports the command and must not need Celery.
    if name not in _HOMES:
        raise AttributeError(f"module 'gnomon_celery' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gnomon_celery.{_HOMES[name]}"), name)
