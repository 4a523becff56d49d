"""A pure fold from the events of runs to the frames of `/ws/progress`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from gnomon import CancelRequested, Event, Execution, Progress, TransitionError
from gnomon.domain.estimates import timing
from gnomon.domain.events import LIFECYCLE
from gnomon.domain.execution import begin
from gnomon.wire.run_frame import FrameType, RunFrame


class RunView:
    """The state of one run, and the past runs that its remaining time is estimated from."""

    def __init__(self, past: Sequence[Execution] = ()) -> None:
        self.execution: Execution | None = None
        self._past = past

    @property
    def version(self) -> int:
        """The number of events folded in."""
        return self.execution.version if self.execution is not None else 0

    def apply(self, event: Event) -> bool:
        """Fold one event in; False for one that is folded in already."""
        if event.version <= self.version:
            return False
        if self.execution is None:
            self.execution = begin(event)
        else:
            self.execution.apply(event)
        return True

    def frame(self, frame_type: FrameType, seq: int, at: datetime) -> RunFrame:
        """Return a frame with the state of the run."""
        run = self.execution
        if run is None:
            return RunFrame(type=frame_type, seq=seq, at=at)
        return RunFrame.of(run, frame_type, seq, at, timing(run, self._past, at))


def fold_frames(views: dict[str, RunView], events: Sequence[Event]) -> list[RunFrame]:
    """Fold events of runs, and return a frame for each of them but superseded progress."""
    last_progress = {event.stream: event.position for event in events if is_progress(event)}
    frames = []
    for event in events:
        view = views.setdefault(event.stream, RunView())
        try:
            is_new = view.apply(event)
        except TransitionError:  # written by another version: the run is shown as far as it can be folded
            continue
        kind = frame_type(event)
        if is_new and kind and (kind != "progress" or last_progress[event.stream] == event.position):
            frames.append(view.frame(kind, event.position, event.at))
    return frames


def is_progress(event: Event) -> bool:
    """Whether the next event of this kind supersedes the event."""
    return isinstance(event, Progress | CancelRequested)


def frame_type(event: Event) -> FrameType | None:
    """Return the frame type of an event; None for one that changes nothing in a frame."""
    if is_progress(event):
        return "progress"
    return cast(FrameType, event.type) if isinstance(event, LIFECYCLE) else None
