"""Who calls the server, as the handlers of plugins see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gnomon.api import KernelApi


class Caller(msgspec.Struct, frozen=True):
    """The sender of a request.

    `actor` is the name for the log. `kernel` is what the caller may see of the kernel: with a limited token some jobs.
    `await sees(job_id)` says whether a job is among them; the kernel itself, with an empty id, is not for such a token.
    """

    actor: str
    kernel: KernelApi
    sees: Callable[[str], Awaitable[bool]]
