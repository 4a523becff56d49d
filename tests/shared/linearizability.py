"""A checker of histories: is there an order of all operations, within their times, that a sequential model explains?

Wing and Gong's search in the just-in-time form of Lowe ("Testing for linearizability", 2017): the events of the history
are followed in time, and at each answer the operations in progress are put in order as far as the answer needs it. The
search keeps every configuration that is still possible: a state of the model, the operations in progress that have
taken effect, and the unanswered operations that were used. An operation without an answer may have taken effect at
any time after its call, or never; of two configurations that differ only in those, the one that has used fewer can
explain all that the other can, so the other is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, NamedTuple

State = Hashable
Model = Callable[[Any, "Operation"], tuple[Hashable, Any]]
"""Return the answer that an operation gets in a state, and the state after it."""


class Operation(NamedTuple):
    """A call with the times of its invocation and its answer; `answered` is None where there was no certain answer."""

    id: str
    call: str
    argument: Hashable
    invoked: int
    answered: int | None
    answer: Hashable = None

    @property
    def is_certain(self) -> bool:
        """Whether it has taken effect before its answer."""
        return self.answered is not None


class _Configuration(NamedTuple):
    state: State
    ahead: frozenset[str]
    """Operations that have taken effect and are answered later."""
    used: frozenset[str]
    """Operations without an answer that have taken effect."""


class NotLinearizableError(AssertionError):
    """No order of the operations explains the history up to this answer."""

    def __init__(self, operation: Operation, states: Iterable[State], in_progress: Iterable[Operation]) -> None:
        self.operation = operation
        super().__init__(
            f"nothing explains the answer {operation.answer!r} to {operation.call}({operation.argument!r}), operation "
            f"{operation.id}: the possible states were {sorted(map(repr, set(states)))}, and in progress were "
            f"{[(one.id, one.call, one.argument, one.answer) for one in in_progress]}"
        )


def check_linearizable(history: Iterable[Operation], model: Model, initial: State) -> None:
    """Raise NotLinearizableError at the first answer that no order of the operations explains."""
    possible = _Possible()
    possible.add(_Configuration(initial, frozenset(), frozenset()))
    in_progress: dict[str, Operation] = {}
    for is_answer, operation in _events(history):
        if not is_answer:
            in_progress[operation.id] = operation
            continue
        found = _Possible()
        for configuration in possible:
            for after in _until(operation, configuration, in_progress, model):
                found.add(after)
        if not found:
            raise NotLinearizableError(operation, (one.state for one in possible), in_progress.values())
        del in_progress[operation.id]
        possible = found


def _events(history: Iterable[Operation]) -> Iterator[tuple[bool, Operation]]:
    """Yield calls and answers in time. Of equal times, calls come first: the operations overlapped, for all we know."""
    events = []
    for operation in history:
        events.append((operation.invoked, False, operation))
        if operation.answered is not None:
            events.append((operation.answered, True, operation))
    for _, is_answer, operation in sorted(events, key=lambda event: event[:2]):
        yield is_answer, operation


def _until(
    answered: Operation, begin: _Configuration, in_progress: dict[str, Operation], model: Model
) -> Iterator[_Configuration]:
    """Yield the configurations after this answer, whose operation is the last of those that take effect before it."""
    if answered.id in begin.ahead:
        yield begin._replace(ahead=begin.ahead - {answered.id})
        return
    seen, waiting = _Possible(), [begin]
    while waiting:
        configuration = waiting.pop()
        for operation in in_progress.values():
            if operation.id in configuration.ahead or operation.id in configuration.used:
                continue
            answer, state = model(configuration.state, operation)
            if operation.is_certain and answer != operation.answer:
                continue
            if operation.id == answered.id:
                yield configuration._replace(state=state)
                continue
            if operation.is_certain:
                after = configuration._replace(state=state, ahead=configuration.ahead | {operation.id})
            elif state != configuration.state:
                after = configuration._replace(state=state, used=configuration.used | {operation.id})
            else:
                continue  # without an effect, a call without an answer explains nothing
            if seen.add(after):
                waiting.append(after)


class _Possible:
    """A set of configurations without those of which another has used fewer of the unanswered operations."""

    def __init__(self) -> None:
        self._used: dict[tuple[State, frozenset[str]], list[frozenset[str]]] = {}

    def add(self, one: _Configuration) -> bool:
        """Add a configuration; False where it can explain nothing more than one that is there."""
        used = self._used.setdefault((one.state, one.ahead), [])
        if any(other <= one.used for other in used):
            return False
        used[:] = [other for other in used if not one.used <= other]
        used.append(one.used)
        return True

    def __iter__(self) -> Iterator[_Configuration]:
        for (state, ahead), every in self._used.items():
            for used in every:
                yield _Configuration(state, ahead, used)

    def __bool__(self) -> bool:
        return bool(self._used)
