"""What the reaper says of a run: what was seen last, and what it means."""

from __future__ import annotations

from gnomon.api import LiveRun
from gnomon.durations import Duration


def verdict(run: LiveRun, threshold: Duration) -> str:
    """Say why a run is ended, and what to do if that was wrong."""
    return (
        f"no sign of life for {_length(run.quiet)}, where {threshold} are allowed; {_last_seen(run)}. "
        "The body was told to stop. If the job is silent for longer by nature, give it a `silence`"
    )


def warning(run: LiveRun, threshold: Duration) -> str:
    """Say what will become of a run."""
    return f"no sign of life for {_length(run.quiet)}; {_last_seen(run)}; after {threshold} it is ended"


def _last_seen(run: LiveRun) -> str:
    """Tell where the run was when it was heard of last."""
    told, execution = run.execution.progress, run.execution
    parts = [f"it started at {execution.timestamp:%Y-%m-%d %H:%M:%S} UTC"]
    if told.percent is not None:
        parts.append(f"came to {told.percent:.0f} %")
    if told.step is not None:
        parts.append(f"was in step {told.step!r}")
    if told.message is not None:
        parts.append(f"said {told.message!r}")
    return ", ".join(parts) if len(parts) > 1 else f"{parts[0]} and told nothing of its progress"


def _length(seconds: float) -> Duration:
    return Duration(seconds=int(seconds) if seconds >= 1 else round(seconds, 3))
