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

from gnomon_celery.config import CeleryConfig
from gnomon_celery.plugin import CeleryPlugin

__all__ = ["CeleryConfig", "CeleryPlugin"]
