"""A fork waits until no thread of the kernel is in code with locks that a child would inherit as they are.

    threads     passing ──► SQLite, a log handler ──► out
    the fork    closes the gate, waits until all are out, forks, opens it in the parent; the child has a new one

SQLite has locks for the whole process, and so have structlog and the buffers of standard streams. If a thread holds one
at the fork, a child that needs it waits for ever: of 128 children of a busy kernel 8 hung when they opened a SQLite
database of their own.
"""

from __future__ import annotations

import logging  # noqa: F401 - its callbacks must be older: a fork takes the locks of logging after those of here
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

LONGEST_WAIT_S = 2.0
"""A fork waits no longer: a disk may hang, and a list may scan a large log."""


class ForkGate:
    """Counts the threads inside; while the gate is closed no other thread enters."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._depth = threading.local()
        self._inside = 0
        self._is_closed = False

    def enter(self) -> None:
        """Wait until the gate is open, and count this thread; a thread that is inside may enter again."""
        depth = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        if depth:
            return
        with self._changed:
            while self._is_closed:
                self._changed.wait()
            self._inside += 1

    def leave(self) -> None:
        """End what `enter` began."""
        self._depth.value -= 1
        if self._depth.value:
            return
        with self._changed:
            self._inside -= 1
            if self._is_closed:
                self._changed.notify_all()

    def close(self) -> None:
        """Close the gate, and wait until the other threads inside have left."""
        own = 1 if getattr(self._depth, "value", 0) else 0
        with self._changed:
            while self._is_closed:  # by a fork in another thread
                self._changed.wait()
            self._is_closed = True
            self._changed.wait_for(lambda: self._inside == own, LONGEST_WAIT_S)

    def open(self) -> None:
        """Open the gate."""
        with self._changed:
            self._is_closed = False
            self._changed.notify_all()


_gate = ForkGate()


@contextmanager
def passing() -> Iterator[None]:
    """Use in this block what has locks for the whole process. Keep it short: a fork waits for its end."""
    gate = _gate  # in a child another one takes its place
    gate.enter()
    try:
        yield
    finally:
        if gate is _gate:  # else this thread has forked, and nobody may release the locks of the old one
            gate.leave()


_held: list[threading.Lock] = []


def _close() -> None:
    _gate.close()
    # Bodies print with structlog too, which has a lock for each stream and does not care for forks.
    locks = list(getattr(structlog._output, "WRITE_LOCKS", {}).values())  # noqa: SLF001 - there is no other way
    _held.extend(lock for lock in locks if lock.acquire(timeout=LONGEST_WAIT_S))


def _release_held() -> None:
    while _held:
        _held.pop().release()


def _open() -> None:
    _release_held()
    _gate.open()


def _replace_in_child() -> None:
    global _gate  # noqa: PLW0603 - the threads inside are not in the child
    _release_held()
    _gate = ForkGate()


os.register_at_fork(before=_close, after_in_parent=_open, after_in_child=_replace_in_child)
