"""Limits of the operating system that a kernel raises at its start."""

from __future__ import annotations

import contextlib
import resource

DESCRIPTORS = 8_192
"""File descriptors that a kernel asks for: pipes of process bodies, connections of viewers, its log and its plugins.

Not more: children inherit the limit, and some programs close or scan all descriptors that they may have.
"""


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files towards DESCRIPTORS, as far as the hard limit allows.

    The usual soft limit is 1,024, kept for programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS refuses more than kern.maxfilesperproc
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
