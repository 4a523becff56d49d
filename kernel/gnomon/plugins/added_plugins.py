"""Plugins that come and go while the kernel runs, such as a web application that another program serves.

A plugin that was added stays over the changes of role of its kernel, as those do that were there at the start: one that
lives with the leader starts again with the next term, until it is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gnomon.errors import PluginError
from gnomon.plugins.dispatcher import Dispatcher
from gnomon.plugins.plugin_set import Plugin, PluginSet

STOP_LIMIT_S = 10.0
"""Seconds in which a plugin that is removed may handle what is left, and leave its lifespan."""
BEFORE_THE_START = ("guard", "register_store", "register_jobs")
"""Hooks that are called before anything runs."""


async def add_plugin(
    plugins: PluginSet, dispatcher_of: Callable[[Plugin], Dispatcher], plugin: Any, name: str | None
) -> str:
    """Add an object, a class or a module that observes, and return its name when its lifespan has been entered.

    `dispatcher_of` returns the dispatcher in which it lives. PluginError for one that cannot be added.
    """
    added = plugins.add(plugin, name)
    try:
        for hook in BEFORE_THE_START:
            if added.observers(hook):
                raise PluginError(added.name, f"has {hook}, so it is given to the kernel before the start")
        dispatcher = dispatcher_of(added)
    except BaseException:
        plugins.remove(added.name)
        raise
    try:
        await dispatcher.add(added)
        added.is_added = True
    except BaseException:
        await dispatcher.remove(added.name, STOP_LIMIT_S)
        plugins.remove(added.name)
        raise
    return added.name


async def remove_plugin(plugins: PluginSet, dispatchers: Iterable[Dispatcher], name: str) -> None:
    """Remove a plugin that was added at run time, when it has left its lifespan; does nothing for another name.

    Where none of `dispatchers` has it, it lives with the leader, and this process follows: it does not start again.
    """
    if name not in plugins or not plugins[name].is_added:
        return
    for dispatcher in dispatchers:
        await dispatcher.remove(name, STOP_LIMIT_S)
    plugins.remove(name)
