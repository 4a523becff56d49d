"""The run as seen from inside its body: progress, steps, cancellation.

The same calls work in async, thread and process bodies. None waits for the kernel but the orders `trigger` and
`add_job`, which an async body awaits.
"""

from __future__ import annotations

import math
import time
from _thread import RLock  # threading.RLock is a function around it
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, NoReturn, Protocol, TypeVar

from gnomon.api import Triggered
from gnomon.domain.events import DeclaredStep
from gnomon.domain.execution import Execution
from gnomon.domain.progress import MAX_STEPS, MORE_STEPS
from gnomon.domain.run_exits import RunCancelled, RunSnoozed
from gnomon.domain.run_order import WhenFull
from gnomon.durations import snooze_delay
from gnomon.errors import NotInRunError
from gnomon.jobs.job import Job
from gnomon.runners.log_buffer import MAX_LINES, LogBuffer, ProgressReader, bounded_count
from gnomon.runners.masking import Mask
from gnomon.runners.orders import Answer, BodyOrder, add_job_order, trigger_order
from gnomon.runners.step_declarations import TEXT_LIMIT, declare_step
from gnomon.tasks import running
from gnomon.text import shorten, writable

T = TypeVar("T")

PROGRESS_RATE = 4.0
"""Progress events per second and execution, at most: a viewer cannot see more, and each one is an event in the log."""

COUNTS = frozenset({"current_item", "processed_items", "total_items"})
"""Fields that belong to one step."""

_NEVER = float("-inf")
_making_lock = Lock()
_NOTHING: dict[str, Any] = {}  # never changed; shared by the many runs that report no progress


class ProgressSink(Protocol):
    """Receives the progress of contexts: the kernel, or the pipe to it. Its methods are called from any thread."""

    def record_progress(self, execution_id: str, fields: dict[str, Any]) -> None:
        """Record one Progress event with these fields."""

    def flush_later(self, context: Context) -> None:
        """Call `context.flush()` when its rate allows the next event."""

    def order(self, context: Context, order: BodyOrder) -> Answer[Any]:
        """Carry out an order of the body; off the kernel's loop, return when the kernel has answered."""


def current() -> Context:
    """Return the context of the run that this code belongs to; raise NotInRunError outside a run."""
    if (context := find_current()) is None:
        raise NotInRunError
    return context


def find_current() -> Context | None:
    """Return the context of the run that this code belongs to, or None."""
    context: Context | None = running.get(None)
    return context


def context_of_task(task: Any) -> Context | None:
    """Return the context of the run that an asyncio task belongs to, also if its body created the task.

    None before Python 3.12, where a task does not tell its context.
    """
    get_context = getattr(task, "get_context", None)
    return get_context().get(running) if get_context is not None else None


class Context:
    """The current run, as its body sees it.

    Every call is a sign of life, and raises RunCancelled once the run has been asked to stop. Every line that the run
    logs or prints is a sign of life too, but never raises.
    """

    __slots__ = (
        "_cancel_requested",
        "_execution",
        "_immediate_events",
        "_interval",
        "_lock",
        "_log_lines",
        "_monotonic",
        "_pending",
        "_reader",
        "_recorded_at",
        "_sink",
        "last_sign_of_life",
        "log_buffer",
        "mask",
    )

    def __init__(
        self,
        execution: Execution,
        sink: ProgressSink,
        *,
        rate: float = PROGRESS_RATE,
        monotonic: Callable[[], float] = time.monotonic,
        reader: ProgressReader | None = None,
        log_lines: int = MAX_LINES,
    ) -> None:
        self._execution = execution
        self.last_sign_of_life = monotonic()
        self._sink = sink
        self._interval = 1.0 / rate
        self._monotonic = monotonic
        self._lock: RLock | None = None
        self._pending = _NOTHING
        self._immediate_events, self._recorded_at = 0, _NEVER
        self._cancel_requested = False
        self._reader, self._log_lines = reader, log_lines
        self.log_buffer: LogBuffer | None = None
        self.mask: Mask | None = None

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
        """The time at which the trigger was due, aware UTC; for a manual run, the time of the request."""
        return self._execution.scheduled_time

    @property
    def attempt(self) -> int:
        """1 for the first attempt, 2 for the first retry. A run after a snooze is the same attempt."""
        return self._execution.tries

    @property
    def snoozes(self) -> int:
        """How often this run has been snoozed before."""
        return self._execution.snoozes

    @property
    def is_manual(self) -> bool:
        """Whether this run was triggered manually."""
        return self._execution.is_manual

    @property
    def force(self) -> bool:
        """Whether the manual trigger skipped the guards."""
        return self._execution.force

    @property
    def triggered_by(self) -> str | None:
        """The id of the run whose body triggered this one, or None."""
        return self._execution.triggered_by

    @property
    def cancel_requested(self) -> bool:
        """Whether the run has been asked to stop; for bodies that want to end in their own way."""
        return self._cancel_requested

    def checkpoint(self) -> None:
        """Record a sign of life; raise RunCancelled if the run has been asked to stop."""
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
        """Report how far the run is. Omitted values stay as they were.

        `percent` is 0 to 100 of the whole run; if omitted, it is derived from the items and the declared steps. Call
        this as often as you like: at most a few events per second are written, and the last value always is.
        """
        fields = {
            "percent": None if percent is None or not math.isfinite(percent) else float(percent),
            "message": None if message is None else shorten(str(message), TEXT_LIMIT),
            "current_item": None if current_item is None else shorten(str(current_item), TEXT_LIMIT),
            "processed_items": None if processed_items is None else bounded_count(processed_items),
            "total_items": None if total_items is None else bounded_count(total_items),
        }
        self._report({name: value for name, value in fields.items() if value is not None})

    def steps(self, *names: str | tuple[str, float] | DeclaredStep) -> None:
        """Declare the steps of this run, each a name or (name, weight); the percentage is then derived from them."""
        declared = [declare_step(name) for name in names[:MAX_STEPS]]
        if rest := names[MAX_STEPS:]:
            declared.append(DeclaredStep(MORE_STEPS, sum(declare_step(name).weight for name in rest)))
        self._report({"steps": declared}, immediately=True)

    def step(self, name: str) -> None:
        """Enter a step. The previous step is completed; declared steps in between are skipped."""
        self._report({"step": shorten(str(name), TEXT_LIMIT)}, immediately=True)

    def skip(self, *names: str) -> None:
        """Mark declared steps as skipped in this run."""
        self._report({"skipped": [shorten(str(name), TEXT_LIMIT) for name in names]}, immediately=True)

    def track(
        self, items: Iterable[T], *, total: int | None = None, describe: Callable[[T], str] | None = None
    ) -> Iterator[T]:
        """Yield the items and report progress; give `total` if the items have no len()."""
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

    def snooze(self, delay: str | float | timedelta, reason: str = "") -> NoReturn:
        """End this run here, and run the job again with the same arguments after a delay: `ctx.snooze("10m")`.

        That is not a failure and uses up no attempt of `retry`. The next run has `attempt` and `scheduled_time` of this
        one, and `snoozes` one higher; it waits in the log, so a restart does not lose it, and can be cancelled.
        `reason` is shown with the run. Raises RunSnoozed, which the body lets pass; ValueError for a delay that is not
        positive or longer than ten years.
        """
        self.checkpoint()
        raise RunSnoozed(snooze_delay(delay), writable(shorten(str(reason), TEXT_LIMIT)))

    def trigger(
        self,
        job: str | Job | Callable[..., Any],
        /,
        *,
        kwargs: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        when_full: WhenFull | None = None,
        **arguments: Any,
    ) -> Answer[Triggered]:
        """Run a job now, once, with these arguments: `ctx.trigger("report", market="cn").execution.id`.

        The run is durably accepted when the call returns, and linked to this one (`triggered_by`). An `async def` body
        awaits the answer: `(await ctx.trigger("report")).execution.id`. `kwargs` are arguments whose names are
        parameters here. A repeated `idempotency_key` makes one run, also where this run is retried. A paused job runs
        once and stays paused. `when_full` and errors are those of `KernelApi.trigger`; TriggerDepthError for a chain of
        more than 32 runs that each trigger the next, which is a loop.
        """
        self.checkpoint()
        options = {"idempotency_key": idempotency_key, "when_full": when_full}
        return self._sink.order(self, trigger_order(job, arguments, kwargs, options))

    def add_job(
        self,
        job: Job | Callable[..., Any] | str,
        /,
        *,
        replace: bool = False,
        expect_version: int | None = None,
        temporary: bool = False,
        owner: str | None = None,
        **keys: Any,
    ) -> Answer[Job]:
        """Add a job, as `KernelApi.add_job` does: `ctx.add_job(remind, id="remind.7", at=tomorrow)`.

        It is durable when the call returns. An `async def` body awaits the answer, which is the checked Job.
        """
        self.checkpoint()
        options = {"replace": replace, "expect_version": expect_version, "temporary": temporary, "owner": owner}
        return self._sink.order(self, add_job_order(job, keys, options))

    def give(self, order: BodyOrder) -> Answer[Any]:
        """Carry out an order that the body gave in another process. Called by its runner, on the kernel's loop."""
        self.last_sign_of_life = self._monotonic()
        return self._sink.order(self, order.received())

    def log_line(
        self, level: str, text: str, logger: str, at: datetime | None = None, number: int | None = None
    ) -> None:
        """Buffer a line that the run logged and read progress from it. Never raises: logging is not a checkpoint.

        A line with a `number` was numbered where the body runs, from 1 on; one that was received before is dropped.
        """
        self.last_sign_of_life = self._monotonic()
        if self.log_buffer is None:
            self.log_buffer = LogBuffer(most_lines=self._log_lines)
        text = writable(text if self.mask is None else self.mask.hide(text))
        if not self.log_buffer.add(at or datetime.now(UTC), writable(level), text, writable(logger), number):
            return
        if self._reader is not None and (fields := self._reader.read(text)):
            self.report(fields, immediately="step" in fields)
        self._sink.flush_later(self)

    def hide(self, *secrets: str) -> None:
        """Show these texts as `***` in what the kernel keeps of the run from now on: errors, results, log lines.

        The secrets that the arguments of the job refer to are hidden without it.
        """
        if secrets:
            self.mask = self.mask or Mask()
            self.mask.add(secrets)

    def request_cancel(self) -> None:
        """Make the next context call of the body raise RunCancelled. Called by the kernel and the runners."""
        self._cancel_requested = True

    @property
    def has_pending_progress(self) -> bool:
        """Whether progress was reported that is not recorded yet."""
        return bool(self._pending)

    @property
    def may_record_progress(self) -> bool:
        """Whether the rate allows another event now."""
        return self._monotonic() - self._recorded_at >= self._interval

    def flush(self) -> None:
        """Record pending progress now. Called by the kernel as well, from its own thread."""
        with self._order():
            fields, self._pending = self._pending, _NOTHING
            if fields:
                self._recorded_at = self._monotonic()
                self._sink.record_progress(self.execution_id, fields)

    def _order(self) -> RLock:
        """Return the lock that is held while the sink is called, so that threads of one body keep their order.

        It is made when a run first reports something: most runs never do, and each lock is work for the garbage
        collector.
        """
        if (lock := self._lock) is None:
            with _making_lock:
                lock = self._lock = self._lock or RLock()
        return lock

    def _report(self, fields: dict[str, Any], *, immediately: bool = False) -> None:
        self.checkpoint()
        self.report(fields, immediately=immediately)

    def report(self, fields: dict[str, Any], *, immediately: bool = False) -> None:
        """Add the fields of a progress event, without a checkpoint; for log lines and messages of a child process.

        They are recorded now if `immediately`, else when the rate allows it, merged with what is reported until then.
        A run that has had as many immediate events as it may have steps is recorded at the rate only.
        """
        self.last_sign_of_life = self._monotonic()
        if self.mask is not None:
            fields = self.mask.hide_fields(fields)
        with self._order():
            if immediately:
                immediately = self._immediate_events < MAX_STEPS
                self._immediate_events += 1
            if immediately:
                self.flush()  # a new step starts its own count: record what was counted in the previous one first
            is_first = not self._pending
            self._pending = merged_fields(self._pending, fields)
            if immediately or self.may_record_progress:
                self.flush()
            elif is_first:
                self._sink.flush_later(self)


def merged_fields(pending: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of two progress events as those of one; a new step starts its own count."""
    if "step" in fields and pending:
        pending = {name: value for name, value in pending.items() if name not in COUNTS}
    if "skipped" in fields and "skipped" in pending:
        fields = {**fields, "skipped": [*pending["skipped"], *fields["skipped"]][-MAX_STEPS:]}
    return pending | fields


enter, leave = running.set, running.reset
"""Set the current context and restore the previous one: `token = enter(context)`, then `leave(token)`."""


class entered:  # noqa: N801 - reads as `with entered(context):`
    """Make a context the current one inside a `with` block."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> Context:
        self._token = running.set(self._context)
        return self._context

    def __exit__(self, *exc: object) -> None:
        running.reset(self._token)
