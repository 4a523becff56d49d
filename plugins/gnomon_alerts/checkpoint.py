"""The state of the plugin as the bytes of a checkpoint: versioned, so that no version misreads another one's."""

from __future__ import annotations

import zlib

import msgspec

from gnomon import Checkpoint, GnomonError
from gnomon_alerts.detector import State

CHECKPOINT = "alerts"
VIEW_VERSION = 1
"""Version of the bytes. Increase it whenever State changes, in its form or in what it means."""


class UnreadableStateError(GnomonError):
    """The saved state cannot be used: it is folded again from the log."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the alerts saved in this log cannot be used, and are folded again from it: {problem}")


def to_checkpoint(state: State) -> Checkpoint:
    """Return the state as a compressed checkpoint."""
    body = msgspec.msgpack.encode(state)
    return Checkpoint(state.watch.position, zlib.compress(msgspec.msgpack.encode((VIEW_VERSION, body)), 1))


def from_checkpoint(checkpoint: Checkpoint, head: int) -> State:
    """Return the state of a log that ends at `head`; UnreadableStateError where it cannot."""
    try:
        version, body = msgspec.msgpack.decode(zlib.decompress(checkpoint.view or b""), type=tuple[int, bytes])
        if version != VIEW_VERSION:
            raise UnreadableStateError(f"its version is {version}, and this version knows {VIEW_VERSION}")
        state = msgspec.msgpack.decode(body, type=State)
    except (zlib.error, ValueError) as exc:  # a DecodeError of msgspec is a ValueError
        raise UnreadableStateError(f"{type(exc).__name__}: {exc}") from exc
    if state.watch.position != checkpoint.position or state.watch.position > head:
        raise UnreadableStateError(f"it ends at position {state.watch.position}, the log at {head}")
    return state
