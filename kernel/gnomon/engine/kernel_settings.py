"""The settings of a kernel, which every term of it has: what leads for the second time is built from the same."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from gnomon.domain.kernel_health import Role
from gnomon.domain.revision import Revision
from gnomon.jobs.allowed_functions import AllowedFunctions
from gnomon.jobs.groups import Group
from gnomon.ports import Clock


class KernelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `gnomon.kernel.Kernel` documents, checked and converted; times in seconds."""

    clock: Clock
    node: str
    role: Role
    timezone: str
    max_running: int
    queue_limit: int
    groups: dict[str, Group]
    drain: timedelta
    hook_timeout_s: float
    blocked_loop_after_s: float | None
    arguments_limit: int
    log_lines: int
    allowed: AllowedFunctions
    keeps_time: bool
    log_failures: bool
    revision: Revision | None = None
