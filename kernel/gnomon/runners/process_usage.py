"""What a process uses, read from the operating system: nothing is asked of the process itself."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from gnomon.domain.body_sample import ProcessUsage

_UTIME, _STIME, _RSS = 11, 12, 21
"""Fields of /proc/PID/stat after the name of the program, as in proc(5)."""


def process_usage(pid: int) -> ProcessUsage:
    """Return what a process uses, as far as the operating system tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        ticks = int(fields[_UTIME]) + int(fields[_STIME])
        memory = int(fields[_RSS]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # not Linux, or the process is gone
        return own_usage() if pid == os.getpid() else ProcessUsage(pid=pid)
    return ProcessUsage(
        pid=pid, memory=memory, peak_memory=_peak_memory(pid), cpu_s=round(ticks / os.sysconf("SC_CLK_TCK"), 3)
    )


def own_usage() -> ProcessUsage:
    """Return what this process uses, on any system: without its memory now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    return ProcessUsage(
        pid=os.getpid(), peak_memory=used.ru_maxrss * unit, cpu_s=round(used.ru_utime + used.ru_stime, 3)
    )


def _peak_memory(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
