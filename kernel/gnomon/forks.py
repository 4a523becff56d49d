"""What a forked child must neither use nor hold: the kernels, stores and sockets that its parent has open.

    before the fork    fork_gate.py waits until no thread is in code with locks of its own
    in the child       each resource is abandoned: it answers no call and closes nothing; descriptors become /dev/null
    in the parent      nothing changes

A child has the memory of its parent, and one thread. Objects look open in it, but the threads that serve them are gone,
and what they share with the parent is harmed by an orderly end: a lock that is released, a socket that is deleted, a
selector whose descriptors are removed. The child therefore leaves all of it as it is, until it ends.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol
from weakref import WeakSet

from gnomon.errors import ForkedProcessError


class Abandonable(Protocol):
    """Something that serves only the process that has opened it."""

    def abandon(self, parent: int) -> None:
        """Answer no call from now on, and close nothing: this process was forked from the process `parent`."""


_resources: WeakSet[Abandonable] = WeakSet()
_files: set[int] = set()
_process = os.getpid()
_forking_loop: asyncio.AbstractEventLoop | None = None


def abandon_in_children(resource: Abandonable) -> None:
    """Abandon a resource in each child that is forked from now on, as long as the resource exists."""
    _resources.add(resource)


@contextmanager
def abandoned_in_children(resource: Abandonable) -> Iterator[None]:
    """Abandon a resource in each child that is forked during the block."""
    abandon_in_children(resource)
    try:
        yield
    finally:
        _resources.discard(resource)


@contextmanager
def closed_in_children(*files: int) -> Iterator[None]:
    """Replace descriptors with /dev/null in each child that is forked during the block.

    A child that outlives its parent would keep its locks, and the ports on which it listened. The numbers stay in use,
    so that an object of the parent that is deleted in the child closes no file of the child's own.
    """
    _files.update(files)
    try:
        yield
    finally:
        _files.difference_update(files)


def forked_error(what: str, parent: int) -> ForkedProcessError:
    """Return the error of a call in a child, such as on "the kernel"."""
    return ForkedProcessError(what, parent, os.getpid())


def _note_loop() -> None:
    global _forking_loop  # noqa: PLW0603 - noted for the child, in which asyncio knows of no loop
    _forking_loop = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises where there is none


def _detach(loop: asyncio.AbstractEventLoop) -> None:
    """Separate the loop of a child, which forked while it ran, from the selector and the wake-up pipe of its parent.

    Closing the copy would remove the parent's descriptors from the selector that both share, and the parent would never
    wake up again; and each signal to the child would wake the handlers of the parent.
    """
    if not hasattr(loop, "_make_self_pipe"):
        return  # not a loop of asyncio
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)
    loop._selector = selectors.DefaultSelector()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no way
    loop._make_self_pipe()  # noqa: SLF001 - as above


def _abandon_all() -> None:
    global _process
    parent, _process = _process, os.getpid()
    if _files:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for file in _files:
            with suppress(OSError):
                os.dup2(null, file, inheritable=False)
        os.close(null)
        _files.clear()
    if _resources and _forking_loop is not None:
        _detach(_forking_loop)
    for resource in list(_resources):
        with suppress(Exception):  # the others are abandoned in any case
            resource.abandon(parent)
    _resources.clear()


os.register_at_fork(before=_note_loop, after_in_child=_abandon_all)
