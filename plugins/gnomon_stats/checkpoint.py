"""The statistics as the bytes of a checkpoint: versioned, so that no version misreads what another one counted."""

from __future__ import annotations

import zlib
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gnomon import GnomonError
from gnomon.domain.records import Checkpoint
from gnomon_stats.cells import Cells
from gnomon_stats.fold import Statistics
from gnomon_stats.lane_fold import decode_cells, encode_cells
from gnomon_stats.series import Series

CHECKPOINT = "stats"
VIEW_VERSION = 6
"""Version of the bytes. Increase it whenever Statistics changes, in its form or in how it counts.

Version 1 dropped days and hours by their distance from the newest one. Version 2 did not keep the shortest and the
longest duration, version 3 did not count by label, version 4 not by lane,
version 5 not how well the time left was estimated."""


class NewerViewError(GnomonError):
    """The statistics were counted by a newer Gnomon; counting over them would lose what only they hold."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"the statistics in this log were counted by a newer Gnomon: its version is {version}, this version "
            f"knows {VIEW_VERSION}; upgrade Gnomon, or remove the section [plugins.stats] from the config"
        )


class UnreadableViewError(GnomonError):
    """The saved statistics cannot be read: they have to be counted again from the log."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the statistics saved in this log cannot be used: {problem}; a kernel counts them again when it starts, "
            "and so does `gnomon stats --rebuild`"
        )


def to_checkpoint(statistics: Statistics) -> Checkpoint:
    """Return statistics as a compressed checkpoint: a few MiB for 1,000 jobs that run every minute."""
    body = msgspec.msgpack.encode(statistics, enc_hook=encode_part)
    return Checkpoint(statistics.position, zlib.compress(msgspec.msgpack.encode((VIEW_VERSION, body)), 1))


def from_checkpoint(checkpoint: Checkpoint, head: int) -> Statistics:
    """Return the statistics of a log that ends at `head`; NewerViewError or UnreadableViewError where it cannot."""
    try:
        version, body = msgspec.msgpack.decode(zlib.decompress(checkpoint.view or b""), type=tuple[int, bytes])
        if version > VIEW_VERSION:
            raise NewerViewError(version)
        statistics = msgspec.msgpack.decode(body, type=Statistics, dec_hook=decode_part)
        if version == 1:
            statistics.rows_since = statistics.position
        ZoneInfo(statistics.zone)
    except (zlib.error, ValueError, LookupError) as exc:  # a DecodeError of msgspec is a ValueError
        raise UnreadableViewError(f"{type(exc).__name__}: {exc}") from exc
    if statistics.position != checkpoint.position or statistics.position > head:
        ends = f"they end at position {statistics.position}, their checkpoint at {checkpoint.position}"
        raise UnreadableViewError(f"{ends}, the log at {head}")
    return statistics


def encode_part(value: Any) -> Any:
    """Return the saved form of what msgpack does not know."""
    if isinstance(value, Series):
        return value.numbers()
    if isinstance(value, Cells):
        return encode_cells(value)
    raise NotImplementedError


def decode_part(expected: type, value: Any) -> Any:
    """Return what was saved in that form."""
    if expected is Series:
        return Series(value)
    if expected is Cells:
        return decode_cells(value)
    raise NotImplementedError
