"""The id of a log, which is kept in the log itself."""

from __future__ import annotations

import secrets

from gnomon.domain.records import Checkpoint
from gnomon.ports import Store

LOG_ID_CHECKPOINT = "log"
"""The checkpoint that holds the id of the log: every store has checkpoints, and a copy of the log includes them."""


async def identify_log(store: Store) -> str:
    """Return the id of the log, 24 hex characters; a new log is given one."""
    if log_id := await read_log_id(store):
        return log_id
    log_id = secrets.token_hex(12)
    await store.save_checkpoint(LOG_ID_CHECKPOINT, Checkpoint(0, log_id.encode()))
    return log_id


async def read_log_id(store: Store) -> str:
    """Return the id of the log, or an empty text where it has none yet."""
    checkpoint = await store.checkpoint(LOG_ID_CHECKPOINT)
    return checkpoint.view.decode() if checkpoint is not None and checkpoint.view is not None else ""
