"""Pauses the garbage collector while many jobs are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pause the garbage collector for a short while, so that it does not scan a growing set of jobs again and again.

    That was a fifth of a start with 100,000 jobs: 0.7 s of 3.5 s.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
