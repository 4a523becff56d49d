"""The id of a log, which is kept in the log itself, and whether the log may be led where it is."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.records import Checkpoint
from gnomon.errors import MovedLogError, StoreError
from gnomon.ports import Store

LOG_ID_CHECKPOINT = "log"
"""The checkpoint that holds the id of the log: every store has checkpoints, and a copy of the log includes them."""
MOVE_CHECKPOINT = "move"
"""The checkpoint that says whether a log was moved; it is not exported, because it is about one store."""


class LogMove(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `gnomon log` has done with a log in this store.

    `moved`: all of it was exported, to go on elsewhere. `importing`: its events up to `position` have arrived and were
    compared with the file, which is read on from `offset`; `line` and `checksum` are those of the lines before.
    `whole`: it may be led. `copy_of` is the id of the log of which it is a copy, with another id.
    """

    state: Literal["moved", "importing", "whole"]
    at: datetime
    file: str = ""
    position: int = 0
    offset: int = 0
    line: int = 0
    checksum: str = ""
    copy_of: str = ""


async def identify_log(store: Store) -> str:
    """Return the id of the log, 24 hex characters; a new log is given one.

    Raise MovedLogError for a log that may not be led in this store: it would have two futures.
    """
    if refusal := _refusal(await read_move(store)):
        raise MovedLogError(refusal)
    if log_id := await read_log_id(store):
        return log_id
    return await save_log_id(store, secrets.token_hex(12))


async def find_refusal(store: Store) -> str | None:
    """Return why the log of a closed store may not be led there; None if it may, is not there, or cannot be read."""
    try:
        await store.open(read_only=True)
    except StoreError:
        return None
    try:
        return _refusal(await read_move(store))
    finally:
        await store.close()


def _refusal(move: LogMove | None) -> str | None:
    """Return why a log may not be led where `gnomon log` has done this with it; None if it may."""
    match move:
        case LogMove(state="moved"):
            return (
                f"this log was moved at {move.at:%Y-%m-%d %H:%M:%S} UTC, at event {move.position:,}, with the file "
                f"{move.file}: start the kernel with the store into which that was imported; if no kernel has led the "
                "log there, `gnomon log reopen` lets one lead it here again"
            )
        case LogMove(state="importing"):
            return (
                f"the import of this log from {move.file} is not complete: it has arrived up to event "
                f"{move.position:,}; stop the kernel of the other store, export the rest with `gnomon log export "
                "--final`, and import it with `gnomon log import`, or make this a separate log with `gnomon log import "
                "--copy`"
            )
        case _:
            return None


async def save_log_id(store: Store, log_id: str) -> str:
    """Save the id of the log, and return it."""
    await store.save_checkpoint(LOG_ID_CHECKPOINT, Checkpoint(0, log_id.encode()))
    return log_id


async def read_log_id(store: Store) -> str:
    """Return the id of the log, or an empty text where it has none yet."""
    checkpoint = await store.checkpoint(LOG_ID_CHECKPOINT)
    return checkpoint.view.decode() if checkpoint is not None and checkpoint.view is not None else ""


async def read_move(store: Store) -> LogMove | None:
    """Return what `gnomon log` has done with the log, None for nothing."""
    checkpoint = await store.checkpoint(MOVE_CHECKPOINT)
    if checkpoint is None or checkpoint.view is None:
        return None
    return msgspec.json.decode(checkpoint.view, type=LogMove)


async def save_move(store: Store, move: LogMove) -> None:
    """Record what `gnomon log` has done with the log."""
    await store.save_checkpoint(MOVE_CHECKPOINT, Checkpoint(0, msgspec.json.encode(move)))
