"""The writer's lease: one document that its holder renews, and that another kernel may take when it is not renewed."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from gnomon.errors import DeposedError, StoreInUseError, StoreUnavailableError
from gnomon.logs import get_logger
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server

log = get_logger("gnomon.mongo")

WRITER = "writer"
_OF_THIS_PROCESS: set[str] = set()
"""Tokens of the leases that this process holds. One that could not be released, in an outage, has no holder."""

RENEWALS = 5
"""How often, in the duration of a lease, its holder renews it; a waiting kernel polls it twice as often."""


class Lease:
    """Held by the one kernel that writes; `seconds` is how long it lasts without renewal.

    Clocks of other machines are not trusted: a kernel that wants the lease watches `renewals` for the duration of the
    lease, on its own clock, and takes it if nothing changed. The death of a holder on the same machine is detected at
    once. `expires` is for people. If two kernels nevertheless write at the same moment, the unique positions
    reject one of them.
    """

    def __init__(self, server: Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._token = secrets.token_hex(8)
        self._held_until = 0.0

    async def acquire(self) -> None:
        """Acquire the lease, or raise StoreInUseError, which names the holder."""
        holder = await self._seen()
        if holder is not None and not _is_dead(holder):
            holder = await self._watch(holder)
        if not await self._take(holder):
            raise StoreInUseError(self._refusal(await self._seen() or {}))

    async def hold(self) -> None:
        """Renew the lease, before a write, if it may have expired; raise DeposedError if another kernel has it."""
        if time.monotonic() >= self._held_until:
            await self.renew()

    async def renew(self) -> None:
        """Renew the lease; raise DeposedError if another kernel has it."""
        began = time.monotonic()
        async with self._server.writing() as server:
            renewed = await server[schema.KERNEL].update_one(
                {"_id": WRITER, "token": self._token}, {"$set": self._times(), "$inc": {"renewals": 1}}
            )
        if not renewed.matched_count and not await self._take(None):
            holder = await self._seen() or {}
            raise DeposedError(f"{self._refusal(holder)}; it took the lease while this kernel did not renew it")
        self._held_until = began + self._seconds

    async def keep(self, on_renewal: Callable[[], Awaitable[None]]) -> None:
        """Renew the lease until cancelled, and call `on_renewal` each time; raise DeposedError if it is lost."""
        while True:
            await asyncio.sleep(self._seconds / RENEWALS)
            try:
                await self.renew()
            except StoreUnavailableError as exc:
                log.debug("the lease could not be renewed", problem=str(exc))
            await on_renewal()

    async def release(self) -> None:
        """Release the lease if this kernel holds it."""
        _OF_THIS_PROCESS.discard(self._token)
        async with self._server.writing() as server:
            await server[schema.KERNEL].delete_one({"_id": WRITER, "token": self._token})

    async def _watch(self, holder: Document) -> Document | None:
        """Watch a holder for the duration of its lease; raise StoreInUseError as soon as the holder renews it."""
        if _is_alive(holder):
            raise StoreInUseError(self._refusal(holder))
        lasts = max(self._seconds, float(holder.get("seconds", 0.0)))
        log.info("waiting for the lease of another kernel to expire", holder=holder.get("node"), seconds=lasts)
        until = time.monotonic() + lasts
        while time.monotonic() < until:
            await asyncio.sleep(lasts / RENEWALS / 2)
            seen = await self._seen()
            if seen is None:
                return None
            if _mark(seen) != _mark(holder):
                raise StoreInUseError(self._refusal(seen))
        return holder

    async def _take(self, holder: Document | None) -> bool:
        """Acquire the lease from this holder, unless it has renewed it since, or create it if there is none."""
        began = time.monotonic()
        seen = {"_id": WRITER, "token": holder["token"], "renewals": holder["renewals"]} if holder else {"_id": WRITER}
        mine = {
            "token": self._token,
            "renewals": 1,
            **_place(),
            "seconds": self._seconds,
            "since": _now(),
        } | self._times()
        async with self._server.writing() as server:
            try:
                if holder is None:
                    await server[schema.KERNEL].insert_one({**seen, **mine})
                    taken: Any = True
                else:
                    taken = await server[schema.KERNEL].find_one_and_update(
                        seen, {"$set": mine}, return_document=ReturnDocument.AFTER
                    )
            except DuplicateKeyError:
                # It is ours if an earlier attempt was executed without its reply reaching us.
                taken = await server[schema.KERNEL].find_one({"_id": WRITER, "token": self._token})
        if taken:
            self._held_until = began + self._seconds
            _OF_THIS_PROCESS.add(self._token)
        return bool(taken)

    async def _seen(self) -> Document | None:
        async with self._server.reading() as server:
            return await server[schema.KERNEL].find_one({"_id": WRITER})

    def _times(self) -> Document:
        return {"renewed": _now(), "expires": _now() + timedelta(seconds=self._seconds)}

    def _refusal(self, holder: Document) -> str:
        since = f"{holder['since']:%Y-%m-%d %H:%M:%S} UTC" if "since" in holder else "a moment ago"
        return (
            f"MongoDB log {self._server.address} is in use by process {holder.get('pid', '?')} on "
            f"{holder.get('node', '?')} since {since}: stop it first, or use another database; "
            "opening read-only works beside it"
        )


def _mark(holder: Document) -> tuple[Any, Any]:
    return holder["token"], holder["renewals"]


def _now() -> datetime:
    return datetime.now(UTC)


def _place() -> Document:
    """Describe this process. `place` is equal only for processes that share a PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        place: str | None = f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux: a dead holder is detected by watching it
        place = None
    return {"node": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), "place": place}


def _started(pid: int) -> str | None:
    """Return when a process started, in ticks since boot, because PIDs are reused; None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name, in parentheses, may contain spaces
    return None if fields[0] in {"Z", "X"} else fields[19]


def _is_here(holder: Document) -> bool:
    return holder.get("place") is not None and holder["place"] == _place()["place"]


def _is_alive(holder: Document) -> bool:
    """Whether the holder is known to be alive, which can be checked for a process of this machine."""
    if not _is_here(holder) or _started(holder["pid"]) != holder["started"]:
        return False
    return holder["pid"] != os.getpid() or holder["token"] in _OF_THIS_PROCESS


def _is_dead(holder: Document) -> bool:
    return _is_here(holder) and not _is_alive(holder)
