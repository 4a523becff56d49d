"""A disk without room."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

MIB = 1024 * 1024


def fill(folder: Path) -> Path:
    """Write a file until the disk has no byte left."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (MIB // 4, 4096, 512, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return filler
