"""The process that a lease names: which one it is, and what can be known about it on the same machine."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from gnomon_shared_log.lease.lease_clock import lease_clock
from gnomon_shared_log.ports.lease_row import LeaseRow

OWNERS_HERE: set[str] = set()
"""The owners of the terms of this process. A lease that could not be released, in an outage, has no holder."""


class Process(NamedTuple):
    """What a row says of its process. `place` is equal only for processes that share a PID namespace."""

    node: str
    pid: int
    started: str | None
    place: str | None


def describe_process() -> Process:
    """Return the description of this process."""
    pid = os.getpid()
    return Process(socket.gethostname(), pid, _started(pid), _place(pid))


def is_dead(holder: LeaseRow) -> bool:
    """Whether the holder is known to be dead, which can be checked for a process of this machine."""
    return _is_here(holder) and not _runs_here(holder)


def silence_here(holder: LeaseRow) -> float | None:
    """Return the seconds since a living process of this machine renewed the lease; None where they are not known.

    Both times are of one clock, so nobody has to watch the lease to know how long it was not renewed.
    """
    if holder.renewed_here is None or not _is_here(holder) or not _runs_here(holder):
        return None
    return max(lease_clock() - holder.renewed_here, 0.0)


def name_of(holder: LeaseRow) -> str:
    """Return the holder in words."""
    since = f"{holder.since:%Y-%m-%d %H:%M:%S} UTC" if holder.since is not None else "a moment ago"
    return f"process {holder.pid or '?'} on {holder.node or '?'} since {since}"


def _runs_here(holder: LeaseRow) -> bool:
    if holder.pid is None or _started(holder.pid) != holder.started:
        return False
    return holder.pid != os.getpid() or holder.owner in OWNERS_HERE


def _is_here(holder: LeaseRow) -> bool:
    return holder.place is not None and holder.place == describe_process().place


@lru_cache(maxsize=1)
def _place(pid: int) -> str | None:  # noqa: ARG001 - a forked child may be in another namespace
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux: a dead holder is detected by watching it
        return None


def _started(pid: int) -> str | None:
    """Return when a process started, in ticks since boot, because PIDs are reused; None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name, in parentheses, may contain spaces
    return None if fields[0] in {"Z", "X"} else fields[19]
