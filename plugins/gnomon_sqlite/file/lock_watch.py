"""The watch of a standby over the lock of another kernel: when it is free, and whether its holder still runs.

    held ──► free            the holder ended or released it: within POLL_S
      │
      └──► silent ──► held   the holder did not run for SILENT_AFTER_S, such as after SIGSTOP, and goes on

A stopped process keeps its lock, and nobody may take it: the process would go on to write when it is continued. Whether
a process runs is seen by the time slices of its threads, which no process can fake or forget to write.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gnomon.domain.records import LogHolder
from gnomon.errors import StoreError, StoreInUseError
from gnomon.logs import get_logger
from gnomon.orders.socket_channel import SocketChannel
from gnomon.ports import OrderChannel, Store
from gnomon.ticks import next_tick
from gnomon_sqlite.file.lock import Holder, WriterLock, flock_holders
from gnomon_sqlite.file.mark_watch import MarkWatch

log = get_logger("gnomon.sqlite")

POLL_S = 0.1
"""Pause between two looks at the lock: three system calls."""
LOOK_S = 1.0
"""Pause between two looks at the holder."""
SILENT_AFTER_S = 5.0
"""A kernel wakes up several times a second, so it was stopped if it did not run for so long."""


END_LIMIT_S = 10.0
"""Time for a killed process to be gone."""


class LockedLog(Store):
    """The part of the SQLite store that other processes use while a kernel holds the log."""

    path: Path
    _mark_watch: MarkWatch

    def orders(self) -> OrderChannel:
        return SocketChannel(self.path, self._holder_name)

    async def wait_until_free(self) -> None:
        try:
            await wait_until_free(WriterLock(self.path), self._note_silence)
        finally:
            self.holder_problem = None

    async def wait_for_events(self, after: int) -> None:  # noqa: ARG002 - what has changed is enough
        await self._mark_watch.wait()

    async def holder(self) -> LogHolder | None:
        return await find_holder(WriterLock(self.path))

    async def take_over(self, holder: LogHolder) -> None:
        await end_holder(WriterLock(self.path), holder)

    def _holder_name(self) -> str | None:
        lock = WriterLock(self.path)
        if not is_held(lock):
            return None
        holder = lock.recorded_holder()
        return f"process {holder.pid} on {holder.host}" if holder is not None else "another process"

    def _note_silence(self, problem: str | None) -> None:
        self.holder_problem = problem


class HolderWatch:
    """Watches whether a process runs; elsewhere than on Linux nothing is known, and nobody is silent."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._slices = _time_slices(pid)
        self.ran_at = time.monotonic()

    def look(self) -> float:
        """Return for how many seconds the process has not run."""
        slices = _time_slices(self.pid)
        if slices != self._slices or slices is None:
            self._slices, self.ran_at = slices, time.monotonic()
        return time.monotonic() - self.ran_at


async def wait_until_free(lock: WriterLock, note_silence: Callable[[str | None], None]) -> None:
    """Return when nobody holds the lock; log and note a holder that is silent, and that it goes on."""
    holder: Holder | None = None
    watch: HolderWatch | None = None
    is_silent, next_look = False, 0.0
    while is_held(lock):
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + LOOK_S
            if (found := lock.recorded_holder(holder)) != holder:
                holder, is_silent = found, False
                note_silence(None)
                is_here = holder is not None and holder.host == socket.gethostname()
                watch = HolderWatch(holder.pid) if holder is not None and is_here else None
            if holder is not None and watch is not None:
                was_silent, is_silent = is_silent, (silent_s := watch.look()) >= SILENT_AFTER_S
                if is_silent != was_silent:
                    note_silence(_report(lock, holder, silent_s) if is_silent else None)
                    if was_silent:
                        log.info("the kernel that holds the log runs again", pid=holder.pid, node=holder.host)
        await next_tick(POLL_S)


async def find_holder(lock: WriterLock) -> LogHolder | None:
    """Return the kernel that holds the lock, watched until it runs, or has not done so for SILENT_AFTER_S."""
    if not is_held(lock):
        return None
    if (holder := lock.recorded_holder()) is None:
        raise StoreError(
            f"SQLite log {lock.database} is locked by a process that has not recorded its id in {lock.path.name}: "
            "another kernel is just starting, or find it with `fuser`"
        )
    if holder.host != socket.gethostname():
        where = f"process {holder.pid} on {holder.host}"
        raise StoreError(f"SQLite log {lock.database} is held by {where}, which can only be watched there")
    watch = HolderWatch(holder.pid)
    began = watch.ran_at
    while (silent_s := watch.look()) < SILENT_AFTER_S and watch.ran_at == began:  # noqa: ASYNC110 - another process changes it
        await asyncio.sleep(POLL_S)
    return LogHolder(
        log=f"SQLite log {lock.database}",
        name=f"process {holder.pid} on {holder.host}",
        is_active=watch.ran_at != began,
        silent_s=silent_s,
        consequences=[
            f"The process {holder.pid} is killed (SIGKILL): nothing that it does is ended in order.",
            "The next kernel records its running runs as lost; a standby leads at once.",
        ],
        mark=holder,
    )


async def end_holder(lock: WriterLock, holder: LogHolder) -> None:
    """Kill the process that was found, if it still holds the lock and does not run."""
    found = await find_holder(lock)
    if found is None:
        return
    if found.mark != holder.mark or found.is_active:
        raise StoreInUseError(f"{found.log} was not taken over: {found.name} runs; stop it first")
    process = lock.recorded_holder()
    if process is None or process != holder.mark or process.pid not in flock_holders(lock.path.stat()):
        raise StoreError(f"{found.log} was not taken over: the system does not name {found.name} as the lock's holder")
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(END_LIMIT_S):
        while process.pid in flock_holders(lock.path.stat()):  # noqa: ASYNC110 - a standby may hold it at once
            await asyncio.sleep(POLL_S)


def _report(lock: WriterLock, holder: Holder, silent_s: float) -> str:
    """Log that the holder is silent, and return it as a sentence."""
    since = datetime.now(UTC) - timedelta(seconds=round(silent_s))
    hint = f"kill -CONT {holder.pid} continues it, `gnomon takeover` ends it"
    log.warning(
        "the kernel that holds the log is silent: nothing runs until it goes on or is ended",
        pid=holder.pid,
        node=holder.host,
        silent_since=since,
        log_file=str(lock.database),
        hint=hint,
    )
    return (
        f"process {holder.pid} on {holder.host} holds the log and has not run since {since:%Y-%m-%dT%H:%M:%SZ}, so "
        f"nothing fires and orders wait: {hint}"
    )


def is_held(lock: WriterLock) -> bool:
    """Return whether another process holds the lock; acquires nothing that outlasts the call."""
    try:
        file = os.open(lock.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # no kernel was ever here, or the start finds out what is wrong
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _time_slices(pid: int) -> int | None:
    """Return how often the threads of a process ran; None where the system does not tell."""
    slices = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                slices += int((thread / "schedstat").read_text(encoding="ascii").split()[2])
    except (OSError, ValueError, IndexError):
        return None
    return slices
