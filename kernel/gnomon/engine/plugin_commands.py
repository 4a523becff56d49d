"""The commands for plugins that come and go while a kernel leads, and for those that load their configs again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.engine.components import KernelComponents
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.plugins.added_plugins import add_plugin, remove_plugin
from gnomon.plugins.dispatcher import Dispatcher
from gnomon.plugins.plugin_set import Plugin


class PluginCommands(KernelComponents):
    """What embedding code may do with plugins after the start."""

    @on_kernel_loop
    async def add_plugin(self, plugin: Any, /, name: str | None = None) -> str:
        """Add an object, a class or a module that observes, and return its name when its lifespan has been entered.

        It receives the events from now on. PluginError for one that cannot be added, or that guards, provides a store
        or registers jobs: such a plugin is given to the kernel before the start.
        """
        return await add_plugin(self.plugins, self._dispatcher_of, plugin, name)

    @on_kernel_loop
    async def remove_plugin(self, name: str, /) -> None:
        """Remove a plugin that was added at run time, when it has left its lifespan; does nothing for another name."""
        await remove_plugin(self.plugins, (self._dispatcher, self._companions), name)

    async def reload_plugins(self, configs: Mapping[str, msgspec.Struct]) -> dict[str, frozenset[str]]:
        """Pass new configs to running plugins; return the keys that they have applied, by plugin.

        Plugins without the hook `reload` are not in the result.
        """
        return await self._dispatcher.reload(configs)

    def _dispatcher_of(self, plugin: Plugin) -> Dispatcher:
        return self._companions if plugin.role == "everywhere" else self._dispatcher
