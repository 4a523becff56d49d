"""Checks whether the plugins of a deployment reach their servers, without starting anything."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import msgspec
import pluggy

from gnomon.domain.kernel_health import Role
from gnomon.plugins.calls import PluginCallError, contained, describe
from gnomon.plugins.plugin_set import PluginSet
from gnomon.safe_text import exact, safe_repr
from gnomon.threads import in_thread


class Connection(msgspec.Struct, frozen=True):
    """The result of a plugin's check; `message` describes what was found, or the problem."""

    plugin: str
    ok: bool
    message: str


async def try_connections(plugins: PluginSet, role: Role, limit: float) -> list[Connection]:
    """Call the hook `try_connection` of every plugin that has it, for a kernel of this role, all at once.

    Each has `limit` seconds.
    """
    tries = [_try(plugin.name, impl, role, limit) for plugin in plugins for impl in plugin.observers("try_connection")]
    return await asyncio.gather(*tries)


async def _try(plugin: str, impl: pluggy.HookImpl, role: Role, limit: float) -> Connection:
    def call() -> str:
        # A thread and an event loop of its own, as plugins have in a kernel: one that hangs delays no other.
        with contained():
            message: object = asyncio.run(_call(impl, role))
            if not isinstance(message, str):
                raise TypeError(f"try_connection returned {safe_repr(message)}, expected a sentence")
            return exact(message)

    try:
        async with asyncio.timeout(limit):
            return Connection(plugin, ok=True, message=await in_thread(call, f"{plugin}-try-connection"))
    except TimeoutError:
        return Connection(plugin, ok=False, message=f"no reply within {limit:g} s")
    except PluginCallError as exc:
        return Connection(plugin, ok=False, message=describe(exc))


async def _call(impl: pluggy.HookImpl, role: Role) -> Any:
    message = impl.function(*(role for _ in impl.argnames))
    return await message if inspect.isawaitable(message) else message
