"""The view as bytes, as it lies in a checkpoint: versioned, so that no version misreads what another one has counted."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from gnomon import GnomonError
from gnomon.ports import Checkpoint
from gnomon_stats.fold import Statistics
from gnomon_stats.series import Series

CHECKPOINT = "stats"
VIEW_VERSION = 1
"""Version of the bytes: a new one wherever Statistics changes, in its form or in how it counts."""


class NewerViewError(GnomonError):
    """The statistics in the log were counted by a newer Gnomon; to count over them would lose what only they know."""


class UnreadableViewError(GnomonError):
    """What lies where the statistics should be is none: it has to be folded again from the log."""


def keep(statistics: Statistics) -> Checkpoint:
    """Write statistics and their position. Packed: 1,000 jobs that run every minute make a few MiB of it."""
    body = msgspec.msgpack.encode(statistics, enc_hook=_encode)
    return Checkpoint(statistics.position, zlib.compress(msgspec.msgpack.encode((VIEW_VERSION, body)), 1))


def unkeep(checkpoint: Checkpoint) -> Statistics:
    """Read them; NewerViewError or UnreadableViewError where that cannot be."""
    try:
        version, body = msgspec.msgpack.decode(zlib.decompress(checkpoint.view or b""), type=tuple[int, bytes])
        if version > VIEW_VERSION:
            raise NewerViewError(
                f"the statistics in this log were counted by a newer Gnomon: their version is {version}, this one knows "
                f"{VIEW_VERSION}; upgrade Gnomon, or take the section [plugins.stats] out of the config"
            )
        if version != VIEW_VERSION:
            raise UnreadableViewError(f"they are of version {version}, which is no longer read")
        statistics = msgspec.msgpack.decode(body, type=Statistics, dec_hook=_decode)
    except (zlib.error, msgspec.DecodeError, ValueError) as exc:
        raise UnreadableViewError(f"their bytes cannot be read: {exc}") from exc
    if statistics.position != checkpoint.position:
        raise UnreadableViewError(f"they end at {statistics.position}, their checkpoint at {checkpoint.position}")
    return statistics


def _encode(value: Any) -> Any:
    if isinstance(value, Series):
        return value.numbers()
    raise NotImplementedError


def _decode(expected: type, value: Any) -> Any:
    if expected is Series:
        return Series(value)
    raise NotImplementedError
