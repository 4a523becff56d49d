"""What a job's body sees of its run: progress, steps, and whether somebody asked it to stop.

The same calls work from async, thread and process bodies; none is awaited and none waits for the kernel.
"""

from __future__ import annotations

import math
import time
from _thread import RLock  # threading.RLock is a function around it
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gnomon.domain.events import DeclaredStep
from gnomon.errors import NotInRunError, RunCancelled
from gnomon.text import shorten, writable

if TYPE_CHECKING:
    from gnomon.domain.execution import Execution
    from gnomon.runners.log_buffer import LogBuffer, ProgressReader

T = TypeVar("T")

PROGRESS_RATE = 4.0
"""Progress events a second and execution, at most: a viewer cannot see more, and the log must not drown in them."""

TEXT_LIMIT = 4 * 1024
"""Characters kept of a message, an item or the name of a step."""

_NEVER = float("-inf")
_NOTHING: dict[str, Any] = {}  # never changed: most runs tell nothing, and need no dict of their own
_current: ContextVar[Context] = ContextVar("gnomon_current")


class Sink(Protocol):
    """Where a context tells what its body told: the kernel, or the pipe to it. Called from any thread."""

    def tell(self, execution_id: str, told: dict[str, Any]) -> None:
        """Take over the fields of one Progress event."""

    def tell_later(self, context: Context) -> None:
        """Call `context.flush()` when the next event may be written."""


def current() -> Context:
    """Return the context of the run that this code belongs to; NotInRunError outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise NotInRunError from None


def find_current() -> Context | None:
    """Return the context of the run that this code belongs to, or None."""
    return _current.get(None)


class Context:
    """One run, seen from inside.

    Every call is a sign of life, and raises RunCancelled once somebody has asked the run to stop. So is every line that
    the run logs or prints, but no line raises.
    """

    __slots__ = (
        "_cancel_requested",
        "_execution",
        "_interval",
        "_lock",
        "_monotonic",
        "_pending",
        "_reader",
        "_sink",
        "_told_at",
        "last_sign_of_life",
        "run_log",
    )

    def __init__(
        self,
        execution: Execution,
        sink: Sink,
        *,
        rate: float = PROGRESS_RATE,
        monotonic: Callable[[], float] = time.monotonic,
        reader: ProgressReader | None = None,
    ) -> None:
        self._execution = execution
        self.last_sign_of_life = monotonic()
        self._sink = sink
        self._interval = 1.0 / rate
        self._monotonic = monotonic
        self._lock = RLock()  # told under it, so that threads of one body keep their order
        self._pending = _NOTHING
        self._told_at = _NEVER
        self._cancel_requested = False
        self._reader = reader
        self.run_log: LogBuffer | None = None

    @property
    def execution_id(self) -> str:
        """The id of this run: 24 hex characters."""
        return self._execution.id

    @property
    def job_id(self) -> str:
        """The id of the job that runs."""
        return self._execution.job_id

    @property
    def scheduled_time(self) -> datetime:
        """The instant that the trigger named, aware UTC; of a manual run the moment of the request."""
        return self._execution.scheduled_time

    @property
    def attempt(self) -> int:
        """1 for the first try, 2 for the first retry."""
        return self._execution.attempt

    @property
    def is_manual(self) -> bool:
        """Whether somebody triggered this run by hand."""
        return self._execution.is_manual

    @property
    def force(self) -> bool:
        """Whether the trigger was told to skip guards."""
        return self._execution.force

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked the run to stop; for bodies that want to end in their own way."""
        return self._cancel_requested

    def checkpoint(self) -> None:
        """Say «still alive», and stop here if somebody asked for it."""
        self.last_sign_of_life = self._monotonic()
        if self._cancel_requested:
            raise RunCancelled

    def progress(
        self,
        percent: float | None = None,
        message: str | None = None,
        *,
        current_item: str | None = None,
        processed_items: int | None = None,
        total_items: int | None = None,
    ) -> None:
        """Tell how far the run is. What is left out stays as it was.

        `percent` is 0 to 100 of the whole run; without it, it is derived from the items and the declared steps. Call it
        as often as you like: at most a few events a second are written, the last value always.
        """
        told = {
            "percent": None if percent is None or not math.isfinite(percent) else float(percent),
            "message": None if message is None else shorten(str(message), TEXT_LIMIT),
            "current_item": None if current_item is None else shorten(str(current_item), TEXT_LIMIT),
            "processed_items": None if processed_items is None else int(processed_items),
            "total_items": None if total_items is None else int(total_items),
        }
        self._tell({name: value for name, value in told.items() if value is not None})

    def steps(self, *names: str | tuple[str, float] | DeclaredStep) -> None:
        """Announce the steps of this run, each a name or (name, weight); the percentage then follows from them."""
        declared = [declare_step(name) for name in names]
        self._tell({"steps": declared}, at_once=True)

    def step(self, name: str) -> None:
        """Enter a step: the one before it is complete, announced ones that were passed over are skipped."""
        self._tell({"step": shorten(str(name), TEXT_LIMIT)}, at_once=True)

    def skip(self, *names: str) -> None:
        """Say that these announced steps are not needed this time."""
        self._tell({"skipped": list(names)}, at_once=True)

    def track(
        self, items: Iterable[T], *, total: int | None = None, describe: Callable[[T], str] | None = None
    ) -> Iterator[T]:
        """Iterate over items and tell the progress; `total` where it cannot be asked with len()."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        done = 0
        for item in items:
            self.progress(
                processed_items=done, total_items=total, current_item=describe(item) if describe else str(item)
            )
            yield item
            done += 1
        self.progress(processed_items=done, total_items=total)

    def log_line(self, level: str, text: str, logger: str, at: datetime | None = None) -> None:
        """Keep a line that the run logged, and read progress from it. It never raises: logging is no checkpoint."""
        self.last_sign_of_life = self._monotonic()
        if self.run_log is None:
            from gnomon.runners.log_buffer import LogBuffer  # noqa: PLC0415 - most runs log nothing

            self.run_log = LogBuffer()
        text = writable(text)
        self.run_log.add(at or datetime.now(UTC), level, text, logger)
        if self._reader is not None and (told := self._reader.read(text)):
            self.relay(told, at_once="step" in told)
        self._sink.tell_later(self)

    def request_cancel(self) -> None:
        """Make the next call of the body raise RunCancelled. The kernel and the runners call this."""
        self._cancel_requested = True

    @property
    def has_untold(self) -> bool:
        """Whether something was told that is not written yet."""
        return bool(self._pending)

    @property
    def may_tell(self) -> bool:
        """Whether the rate allows one more event now."""
        return self._monotonic() - self._told_at >= self._interval

    def flush(self) -> None:
        """Tell now what is pending. The kernel calls this, from its own thread too."""
        with self._lock:
            told, self._pending = self._pending, _NOTHING
            if told:
                self._told_at = self._monotonic()
                self._sink.tell(self.execution_id, told)

    def _tell(self, told: dict[str, Any], *, at_once: bool = False) -> None:
        self.checkpoint()
        self.relay(told, at_once=at_once)

    def relay(self, told: dict[str, Any], *, at_once: bool = False) -> None:
        """Take over the fields of a progress event, from a log line or a child process; at once, or conflated."""
        self.last_sign_of_life = self._monotonic()
        with self._lock:
            if at_once:
                self.flush()  # a step that begins starts its own count: what the one before counted is not its own
            first = not self._pending
            self._pending = self._pending | told
            if at_once or self.may_tell:
                self.flush()
            elif first:
                self._sink.tell_later(self)


def declare_step(step: str | tuple[str, float] | DeclaredStep) -> DeclaredStep:
    """Make a declared step of the short forms."""
    if isinstance(step, DeclaredStep):
        return step
    if isinstance(step, str):
        return DeclaredStep(shorten(step, TEXT_LIMIT))
    name, weight = step
    return DeclaredStep(shorten(name, TEXT_LIMIT), float(weight))


enter, leave = _current.set, _current.reset
"""Make a context the current one, and the one before again: `token = enter(context)`, `leave(token)`."""


class entered:  # noqa: N801 - reads as `with entered(context):`
    """Make a context the current one for a block of code."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> Context:
        self._token = _current.set(self._context)
        return self._context

    def __exit__(self, *exc: object) -> None:
        _current.reset(self._token)
