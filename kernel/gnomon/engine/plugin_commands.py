"""Plugins that come and go while the kernel runs, such as a web application that another program serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.engine.components import KernelComponents
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.errors import PluginError

STOP_LIMIT_S = 10.0
"""Seconds in which a plugin that is removed may handle what is left, and leave its lifespan."""


class PluginCommands(KernelComponents):
    """What embedding code may do with plugins after the start."""

    @on_kernel_loop
    async def add_plugin(self, plugin: Any, /, name: str | None = None) -> str:
        """Add an object, a class or a module that observes, and return its name when its lifespan has been entered.

        It receives the events from now on. PluginError for one that cannot be added, or that guards, provides a store
        or registers jobs: such a plugin is given to the kernel before the start.
        """
        added = self.plugins.add(plugin, name)
        try:
            for hook in ("guard", "register_store", "register_jobs"):
                if added.observers(hook):
                    raise PluginError(added.name, f"has {hook}, so it is given to the kernel before the start")
            await self._dispatcher.add(added)
        except BaseException:
            await self._dispatcher.remove(added.name, STOP_LIMIT_S)
            self.plugins.remove(added.name)
            raise
        return added.name

    @on_kernel_loop
    async def remove_plugin(self, name: str, /) -> None:
        """Remove a plugin that was added at run time, when it has left its lifespan; does nothing for another name."""
        if await self._dispatcher.remove(name, STOP_LIMIT_S):
            self.plugins.remove(name)

    async def reload_plugins(self, configs: Mapping[str, msgspec.Struct]) -> dict[str, frozenset[str]]:
        """Pass new configs to running plugins; return the keys that they have applied, by plugin.

        Plugins without the hook `reload` are not in the result.
        """
        return await self._dispatcher.reload(configs)
