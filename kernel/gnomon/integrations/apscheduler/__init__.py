"""From APScheduler 3 to Gnomon: observe a scheduler with `attach`, or take over its jobs with `import_jobs`."""

from typing import Any

from gnomon.integrations.apscheduler.job_stores import import_jobs

__all__ = ["attach", "import_jobs"]


def __getattr__(name: str) -> Any:
    """Import `attach` when it is first used: it needs APScheduler, and an import of jobs does not."""
    if name == "attach":
        from gnomon.integrations.apscheduler.attachment import attach  # noqa: PLC0415

        return attach
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
