"""Which file is the spool of a kernel, where several processes of one machine have the same configuration.

A process that was deposed, and is stopped or cut off, still has its spool open. It must not prevent the next leader, so
that one uses the next number: `spool.db`, `spool-2.db`, … With `cut_off = "run"` a spool may contain acknowledged
events. There the configured file is the only one, and a kernel waits until it is free.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gnomon.errors import StoreInUseError
from gnomon.logs import get_logger
from gnomon_shared_log.ports.batch import B, BatchCodec
from gnomon_shared_log.ports.lease_row import CutOff
from gnomon_shared_log.writing.spool import Spool

log = get_logger("gnomon.shared_log")

MOST_SPOOLS = 8
"""Spools of one configuration: each belongs to a process that led, and has not been able to leave since."""


async def open_spool(path: Path, codec: BatchCodec[B], cut_off: CutOff) -> Spool[B]:
    """Open the first spool that no other process uses; StoreInUseError if there is none."""
    *others, last = list(_candidates(path))[: MOST_SPOOLS if cut_off == "hold" else 1]
    for candidate in others:
        spool = Spool(candidate, codec)
        with suppress(StoreInUseError):
            await spool.open()
            return spool
        log.warning("another process uses the spool, this kernel uses another one", spool=str(candidate))
    spool = Spool(last, codec)
    await spool.open()
    return spool


def existing_spools(path: Path) -> list[Path]:
    """Return the spools of this configuration that exist."""
    return [candidate for candidate in _candidates(path) if candidate.exists()]


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, MOST_SPOOLS + 1):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
