"""The name of a log: drawn when its first kernel starts, kept in it, so that who resumes notices another log."""

from __future__ import annotations

import secrets

from gnomon.ports import Checkpoint, Store

NAME = "log"
"""The checkpoint that holds it: every store has checkpoints, and a copy of the log takes them along."""


async def identify(store: Store) -> str:
    """Return the name of the log, 24 hex characters; a new log gets one."""
    if (kept := await store.checkpoint(NAME)) is not None and kept.view is not None:
        return kept.view.decode()
    name = secrets.token_hex(12)
    await store.save_checkpoint(NAME, Checkpoint(0, name.encode()))
    return name
