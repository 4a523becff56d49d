"""Ask the plugins of a deployment whether they reach what they talk to, without starting anything."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import msgspec
import pluggy

from gnomon.errors import GnomonError
from gnomon.plugins.plugin_set import PluginSet
from gnomon.threads import in_thread


class Connection(msgspec.Struct, frozen=True):
    """What a plugin says of its connection: what it found, or what is wrong."""

    plugin: str
    ok: bool
    told: str


async def try_connections(plugins: PluginSet, limit: float) -> list[Connection]:
    """Let every plugin that has the hook `try_connection` try its own, all at once; each has `limit` seconds."""
    tries = [_try(plugin.name, impl, limit) for plugin in plugins for impl in plugin.observers("try_connection")]
    return await asyncio.gather(*tries)


async def _try(plugin: str, impl: pluggy.HookImpl, limit: float) -> Connection:
    try:
        async with asyncio.timeout(limit):
            # A thread and a loop of its own, as plugins have in a kernel: one that hangs keeps nobody waiting.
            told: object = await in_thread(lambda: asyncio.run(_call(impl)), f"{plugin}-try-connection")
        if not isinstance(told, str):
            raise TypeError(f"try_connection returned {told!r}, expected a sentence")
    except TimeoutError as exc:
        return Connection(plugin, ok=False, told=str(exc) or f"there is no answer within {limit:g} s")
    except GnomonError as exc:
        return Connection(plugin, ok=False, told=str(exc))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever a stranger's hook raises is what is wrong
        return Connection(plugin, ok=False, told=f"{type(exc).__name__}: {exc}")
    return Connection(plugin, ok=True, told=told)


async def _call(impl: pluggy.HookImpl) -> Any:
    told = impl.function()
    return await told if inspect.isawaitable(told) else told
