"""The view as bytes, as it lies in a checkpoint: versioned, so that no version misreads what another one counted."""

from __future__ import annotations

import zlib
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gnomon import GnomonError
from gnomon.domain.records import Checkpoint
from gnomon_stats.fold import Statistics
from gnomon_stats.series import Series

CHECKPOINT = "stats"
VIEW_VERSION = 1
"""Version of the bytes: a new one wherever Statistics changes, in its form or in how it counts."""


class NewerViewError(GnomonError):
    """The statistics were counted by a newer Gnomon; to count over them would lose what only they know."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"the statistics in this log were counted by a newer Gnomon: their version is {version}, this one knows "
            f"{VIEW_VERSION}; upgrade Gnomon, or take the section [plugins.stats] out of the config"
        )


class UnreadableViewError(GnomonError):
    """What lies where the statistics should be is none: they have to be counted again from the log."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the statistics that are kept in this log cannot be used: {problem}; a kernel counts them anew when it "
            "starts, and so does `gnomon stats --rebuild`"
        )


def keep(statistics: Statistics) -> Checkpoint:
    """Write statistics and their position. Packed: 1,000 jobs that run every minute make a few MiB of it."""
    body = msgspec.msgpack.encode(statistics, enc_hook=_encode)
    return Checkpoint(statistics.position, zlib.compress(msgspec.msgpack.encode((VIEW_VERSION, body)), 1))


def unkeep(checkpoint: Checkpoint, head: int) -> Statistics:
    """Read the statistics of a log that ends at `head`; NewerViewError or UnreadableViewError where that cannot be."""
    try:
        version, body = msgspec.msgpack.decode(zlib.decompress(checkpoint.view or b""), type=tuple[int, bytes])
        if version > VIEW_VERSION:
            raise NewerViewError(version)
        if version < VIEW_VERSION:
            raise UnreadableViewError(f"they are of version {version}, which is no longer read")
        statistics = msgspec.msgpack.decode(body, type=Statistics, dec_hook=_decode)
        ZoneInfo(statistics.zone)
    except (zlib.error, ValueError, LookupError) as exc:  # a DecodeError of msgspec is a ValueError
        raise UnreadableViewError(f"{type(exc).__name__}: {exc}") from exc
    if statistics.position != checkpoint.position or statistics.position > head:
        ends = f"they end at position {statistics.position}, their checkpoint at {checkpoint.position}"
        raise UnreadableViewError(f"{ends}, the log at {head}")
    return statistics


def _encode(value: Any) -> Any:
    if isinstance(value, Series):
        return value.numbers()
    raise NotImplementedError


def _decode(expected: type, value: Any) -> Any:
    if expected is Series:
        return Series(value)
    raise NotImplementedError
