"""The three streams of the process, made such that nobody who writes needs to think of them."""

from __future__ import annotations

import io
import os
import sys

STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def mend_streams() -> None:
    """Open those that were closed, and write `?` for what an encoding lacks, as the ASCII of LANG=C does."""
    for number, name, mode in STREAMS:
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one. Left free, it would go to the next file that is opened, which may be
            # a log, and then take in whatever a library prints.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
