"""Records the acts of operators that were refused, such as the trigger of an unknown job.

Nothing changed, but someone tried: the history shows them as failed. They are bounded, so that a client in a loop does
not fill the log: each actor has a few a minute, all actors together some more, and the next event of an actor counts
those that were left out.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from gnomon.domain.events import ActRefused
from gnomon.engine.kernel_facts import KernelFacts
from gnomon.errors import (
    ExecutionOverError,
    ExecutionRunningError,
    ForeignJobError,
    GnomonError,
    JobConflictError,
    JobError,
    JobExistsError,
    RunOrdersError,
    StepDownError,
    UnknownExecutionError,
    UnknownJobError,
    listed,
)
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.safe_text import safe_str
from gnomon.text import shorten, writable

P = ParamSpec("P")
R = TypeVar("R")
log = get_logger("gnomon.engine.refused_acts")

PERIOD_S: Final = 60.0
MOST_OF_ACTOR, MOST_OF_ALL = 20, 100
"""Refused acts that are recorded in a period."""
MOST_ACTORS: Final = 1_000
LONGEST_ID, LONGEST_MESSAGE = 128, 500
REFUSALS = (
    UnknownJobError,
    UnknownExecutionError,
    ExecutionOverError,
    ExecutionRunningError,
    JobError,
    JobExistsError,
    JobConflictError,
    ForeignJobError,
    StepDownError,
)
"""Errors that refuse an act. A store that is away refuses nothing: it cannot be written either."""


class Notes(Protocol):
    """A kernel that records refused acts."""

    async def note_refused(self, action: str, actor: str, error: GnomonError, subject: object) -> None:
        """Record an act that was refused."""


Self_ = TypeVar("Self_", bound=Notes)


class _Window:
    """The refused acts of one actor, or of all, in the present period."""

    def __init__(self) -> None:
        self.began = float("-inf")
        self.recorded = 0
        self.left_out = 0

    def has_room(self, now: float, most: int) -> bool:
        if now - self.began >= PERIOD_S:
            self.began, self.recorded = now, 0
        return self.recorded < most


class RefusedActs:
    """Records refused acts as facts, at a rate that the log can bear."""

    def __init__(self, facts: KernelFacts, clock: Clock) -> None:
        self._facts = facts
        self._clock = clock
        self._all = _Window()
        self._of_actors: OrderedDict[str, _Window] = OrderedDict()

    def record(self, action: str, actor: str, error: GnomonError, job_id: str, execution_id: str | None) -> bool:
        """Record one; False where there have been too many, so that it is only counted."""
        now = self._clock.monotonic()
        window = self._of_actors.setdefault(actor, _Window())
        self._of_actors.move_to_end(actor)
        while len(self._of_actors) > MOST_ACTORS:
            self._of_actors.popitem(last=False)
        if not (window.has_room(now, MOST_OF_ACTOR) and self._all.has_room(now, MOST_OF_ALL)):
            if window.left_out == 0:
                log.warning("too many refused acts: some are not recorded", actor=actor, action=action)
            window.left_out += 1
            return False
        for one in (window, self._all):
            one.recorded += 1
        self._facts.record(
            ActRefused,
            day=self._clock.now().date().isoformat(),
            actor=actor,
            action=action,
            asked_job_id=writable(job_id)[:LONGEST_ID],
            execution_id=execution_id and writable(execution_id)[:LONGEST_ID],
            message=shorten(safe_str(error), LONGEST_MESSAGE),
            left_out=window.left_out,
        )
        window.left_out = 0
        return True


def refusable(
    action: str,
) -> Callable[[Callable[Concatenate[Self_, P], Awaitable[R]]], Callable[Concatenate[Self_, P], Coroutine[Any, Any, R]]]:
    """Record the act of an operator that a command refuses; its first parameter is a job, a run or a list."""

    def decorate(
        method: Callable[Concatenate[Self_, P], Awaitable[R]],
    ) -> Callable[Concatenate[Self_, P], Coroutine[Any, Any, R]]:
        subject = list(inspect.signature(method).parameters)[1]

        @functools.wraps(method)
        async def call(self: Self_, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return await method(self, *args, **kwargs)
            except REFUSALS as exc:
                if isinstance(actor := kwargs.get("actor"), str):
                    given = args[0] if args else kwargs.get(subject)
                    await self.note_refused(action, actor, *_first_refused(exc, given))
                raise

        return call

    return decorate


def _first_refused(exc: GnomonError, given: Any) -> tuple[GnomonError, object]:
    """Return why, and what was refused: of a list of orders, the first one that is not valid.

    It says nothing of the orders that are valid: those of transactions are tried again without the refused ones.
    """
    if not isinstance(exc, RunOrdersError):
        return exc, given
    first, *others = sorted(exc.problems)
    problem = exc.problems[first]
    if others:
        also = listed([f"order {number}: {exc.problems[number]}" for number in others])
        problem = JobError(f"{problem}; not valid either: {also}")
    return problem, getattr(given[first], "job_id", None)
