"""The writer's place: one document that its holder renews, and that somebody else may take when it stands still."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from gnomon.errors import DeposedError, StoreInUseError, StoreUnavailableError
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server

log = structlog.stdlib.get_logger("gnomon.mongo")

WRITER = "writer"
_OF_THIS_PROCESS: set[str] = set()
"""Tokens of the leases that this process holds: one that could not be given back, in an outage, is nobody's."""

LOOKS = 5
"""How often somebody who waits for the place looks at it while a lease lasts, and how often its holder renews it."""


class Lease:
    """Held by the one kernel that writes; `seconds` is how long it lasts without being renewed.

    No clock of another machine is trusted: who wants the place watches `renewals` for as long as the lease lasts, on
    its own clock, and takes it where nothing moved. A holder that died on this machine is known to be dead at once.
    What stands in `expires` is for people. Should two kernels write for a moment all the same, the unique positions
    let one of them through.
    """

    def __init__(self, server: Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._token = secrets.token_hex(8)
        self._held_until = 0.0

    async def acquire(self) -> None:
        """Take the place, or raise StoreInUseError that names who has it."""
        holder = await self._seen()
        if holder is not None and not _is_dead(holder):
            holder = await self._watch(holder)
        if not await self._take(holder):
            raise StoreInUseError(self._refusal(await self._seen() or {}))

    async def hold(self) -> None:
        """Make sure, before a write, that the place is still ours; DeposedError where somebody else has it."""
        if time.monotonic() >= self._held_until:
            await self.renew()

    async def renew(self) -> None:
        """Say that the holder is alive; DeposedError where it is the holder no more."""
        began = time.monotonic()
        async with self._server.writing() as server:
            renewed = await server[schema.KERNEL].update_one(
                {"_id": WRITER, "token": self._token}, {"$set": self._times(), "$inc": {"renewals": 1}}
            )
        if not renewed.matched_count and not await self._take(None):
            holder = await self._seen() or {}
            raise DeposedError(f"{self._refusal(holder)}; it took the place when this kernel was not heard of")
        self._held_until = began + self._seconds

    async def keep(self) -> None:
        """Renew for as long as it is not cancelled; DeposedError where somebody else has taken the place."""
        while True:
            await asyncio.sleep(self._seconds / LOOKS)
            try:
                await self.renew()
            except StoreUnavailableError as exc:
                log.debug("the lease is not renewed", problem=str(exc))

    async def release(self) -> None:
        """Give the place back, where it is ours."""
        _OF_THIS_PROCESS.discard(self._token)
        async with self._server.writing() as server:
            await server[schema.KERNEL].delete_one({"_id": WRITER, "token": self._token})

    async def _watch(self, holder: Document) -> Document | None:
        """Watch a holder for as long as a lease lasts; it is refused as soon as the holder moves."""
        if _is_alive(holder):
            raise StoreInUseError(self._refusal(holder))
        lasts = max(self._seconds, float(holder.get("seconds", 0.0)))
        log.info("waiting for the lease of a kernel that may be gone", holder=holder.get("node"), seconds=lasts)
        until = time.monotonic() + lasts
        while time.monotonic() < until:
            await asyncio.sleep(lasts / LOOKS / 2)
            seen = await self._seen()
            if seen is None:
                return None
            if _mark(seen) != _mark(holder):
                raise StoreInUseError(self._refusal(seen))
        return holder

    async def _take(self, holder: Document | None) -> bool:
        """Take the place from a holder that was seen like this, or where there is none."""
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
                # Ours, where an earlier try was carried out although no answer came.
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
            f"MongoDB log {self._server.address} is written by process {holder.get('pid', '?')} on "
            f"{holder.get('node', '?')} since {since}: stop it first, or use another database; "
            "opening read-only works beside it"
        )


def _mark(holder: Document) -> tuple[Any, Any]:
    return holder["token"], holder["renewals"]


def _now() -> datetime:
    return datetime.now(UTC)


def _place() -> Document:
    """Tell where this process is: `place` is equal only for processes that can see each other's numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        place: str | None = f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux: then a dead holder is found by watching it
        place = None
    return {"node": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), "place": place}


def _started(pid: int) -> str | None:
    """Tell when a process began, in ticks since the boot: a number is given to another process some day."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name, in brackets, may hold spaces
    return None if fields[0] in {"Z", "X"} else fields[19]


def _is_here(holder: Document) -> bool:
    return holder.get("place") is not None and holder["place"] == _place()["place"]


def _is_alive(holder: Document) -> bool:
    """Whether the holder is known to live: a process of this machine can be looked at."""
    if not _is_here(holder) or _started(holder["pid"]) != holder["started"]:
        return False
    return holder["pid"] != os.getpid() or holder["token"] in _OF_THIS_PROCESS


def _is_dead(holder: Document) -> bool:
    return _is_here(holder) and not _is_alive(holder)
