"""Bodies that a worker imports."""

from __future__ import annotations

import contextlib
import time

from worker_bodies import witness


def add(a: int, b: int) -> int:
    return a + b


def cling(path: str) -> None:
    """Run until the process is killed."""
    witness(f"{path}.began")
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.01)
