"""What a kernel answers that is asked to hand its log over."""

from __future__ import annotations

import msgspec


class HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel that leads has begun to step down: it starts nothing more.

    `leader` names it. Its `running` runs, by id, have `within_s` seconds to end, then they are cancelled, as at a clean
    stop. One of the `successors`, kernels that follow with the role "auto", leads afterwards.
    """

    leader: str
    running: list[str]
    within_s: float
    successors: list[str]
