"""The standard streams of the process, repaired so that writing to them never fails."""

from __future__ import annotations

import io
import os
import sys

STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def repair_standard_streams() -> None:
    """Open closed streams; print `?` for characters that the encoding lacks, such as the ASCII of LANG=C."""
    for number, name, mode in STREAMS:
        try:
            os.fstat(number)
        except OSError:
            # open() takes the lowest free number, which is this one. If it stayed free, the next file to be opened,
            # perhaps a log, would get it and receive whatever libraries print.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
