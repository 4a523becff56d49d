"""From APScheduler 3 to Gnomon: observe a scheduler with `attach`, or take over its jobs with `import_jobs`."""

from gnomon.integrations.apscheduler.job_stores import import_jobs

__all__ = ["import_jobs"]
