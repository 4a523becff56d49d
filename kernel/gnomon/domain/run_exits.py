"""What is raised in the body of a run to leave it."""

from __future__ import annotations

from datetime import timedelta


class RunCancelled(BaseException):
    """Raised in a body at its next context call after a cancellation request. Clean up and let it pass.

    It derives from BaseException so that `except Exception` in a body cannot swallow it. (The recorded fact is the
    event `Cancelled`.)
    """

    __module__ = "gnomon"


class RunSnoozed(BaseException):
    """Raised in a body by `ctx.snooze(...)`: the run ends here and happens again after `delay`. Let it pass.

    It derives from BaseException so that `except Exception` in a body cannot swallow it.
    """

    __module__ = "gnomon"

    def __init__(self, delay: timedelta, reason: str = "") -> None:
        super().__init__(f"the run is to happen again in {delay}" + (f": {reason}" if reason else ""))
        self.delay = delay
        self.reason = reason
