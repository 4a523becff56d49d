"""The messages of the reaper: the last sign of life of a run, and the consequence."""

from __future__ import annotations

from gnomon.api import LiveRun
from gnomon.durations import Duration


def verdict(run: LiveRun, threshold: Duration) -> str:
    """Return why a run was ended, and what to do if that was wrong."""
    return (
        f"no sign of life for {_length(run.quiet)}, the limit is {threshold}; {_last_seen(run)}. "
        "The body was asked to stop. If the job is normally silent for longer, set its `silence`"
    )


def warning(run: LiveRun, threshold: Duration) -> str:
    """Return the warning about a run that will be ended."""
    return f"no sign of life for {_length(run.quiet)}; {_last_seen(run)}; it will be ended after {threshold}"


def _last_seen(run: LiveRun) -> str:
    """Return how far the run was when it last gave a sign of life."""
    progress, execution = run.execution.progress, run.execution
    parts = [f"it started at {execution.timestamp:%Y-%m-%d %H:%M:%S} UTC"]
    if progress.percent is not None:
        parts.append(f"reached {progress.percent:.0f} %")
    if progress.step is not None:
        parts.append(f"was in step {progress.step!r}")
    if progress.message is not None:
        parts.append(f"last reported {progress.message!r}")
    return ", ".join(parts) if len(parts) > 1 else f"{parts[0]} and reported no progress"


def _length(seconds: float) -> Duration:
    return Duration(seconds=int(seconds) if seconds >= 1 else round(seconds, 3))
