"""A stand-in for the context of a job, which records its calls."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from gnomon import Context, RunCancelled


class RecordingContext:
    """Remembers steps and progress; a cancel request arrives after a chosen number of calls."""

    def __init__(self) -> None:
        self.declared: list[str] = []
        self.begun: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.calls_before_cancel: int | None = None

    @property
    def cancel_requested(self) -> bool:
        return self.calls_before_cancel is not None and self.calls_before_cancel <= 0

    def checkpoint(self) -> None:
        if self.cancel_requested:
            raise RunCancelled
        if self.calls_before_cancel is not None:
            self.calls_before_cancel -= 1

    def steps(self, *names: str) -> None:
        self.checkpoint()
        self.declared += names

    def step(self, name: str) -> None:
        self.checkpoint()
        assert name in self.declared
        self.begun.append(name)

    def progress(self, percent: float | None = None, message: str | None = None, **told: Any) -> None:
        self.checkpoint()
        self.told.append({"percent": percent, "message": message, **told})


@pytest.fixture
def recording() -> RecordingContext:
    return RecordingContext()


@pytest.fixture
def ctx(recording: RecordingContext) -> Context:
    return cast(Context, recording)


@pytest.fixture
def begun_steps(recording: RecordingContext) -> list[str]:
    return recording.begun


@pytest.fixture
def told_progress(recording: RecordingContext) -> list[dict[str, Any]]:
    return recording.told


@pytest.fixture
def cancel_after(recording: RecordingContext) -> Callable[[int], None]:
    """Raise after this number of calls of the context."""

    def request(calls: int) -> None:
        recording.calls_before_cancel = calls

    return request
