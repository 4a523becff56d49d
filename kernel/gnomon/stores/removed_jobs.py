"""Which removed jobs are over, so that retention may delete their states and streams: the same for every store.

A removed job stays until nothing in the log needs it: `explain` and `audit` judge its runs by its stream, and a job
that is added again with its id counts from its newest fire, so that no fire comes a second time. Once its removal,
its runs and its newest fire lie before the retention, it goes as a whole, with the operators' acts in its stream. A
job that is added with that id later begins as a new one, without the name and the note that an operator had given.
"""

from __future__ import annotations

from datetime import datetime

from gnomon.domain.job_state import JobState


def gone_since(state: JobState) -> datetime | None:
    """Return since when a job is removed, or since when it is known for one that was only imported; else None."""
    return (state.removed_at or state.anchor) if state.removed else None


def is_over(state: JobState, before: datetime) -> bool:
    """Return whether a job may be deleted at a retention, if the store has no run of it, not even an unfinished one."""
    gone = gone_since(state)
    return gone is not None and gone < before and (state.newest_fire is None or state.newest_fire < before)
