"""Calls of commands for code of jobs, plugins and programs, which must not end the loop of the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gnomon.errors import GnomonError
from gnomon.plugins.calls import describe

R = TypeVar("R")


async def contained(call: Coroutine[Any, Any, R]) -> R:
    """Raise GnomonError for what would end the loop: arguments of a plugin may raise anything when they are read."""
    try:
        return await call
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as exc:
        raise GnomonError(f"the call was refused: {describe(exc)}") from exc
