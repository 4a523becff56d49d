"""The hook `register_routes`, by which other plugins add calls to the server.

    class Reports:
        @hookimpl(optionalhook=True)
        def register_routes(self, register):
            register("GET", "/reports/{name}", self.report, role="viewer")

        async def report(self, request, name: str) -> Report: ...

`optionalhook` lets the plugin be used where gnomon_web is not enabled. The keys of `register` are those of
`gnomon_web.routes.Route`, whose docstring tells what a handler may ask for. Handlers are called on the loop of
gnomon_web, not on that of their own plugin, and must not block it. What one raises is answered with 500 and the
plugin's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnomon import Kernel
from gnomon_web.openapi import check_types
from gnomon_web.routes import Route, RouteTable

HOOK = "register_routes"


def add_contributions(kernel: Kernel, table: RouteTable) -> None:
    """Ask every plugin for routes; PluginError names the one that offers what cannot be served."""
    for plugin in kernel.plugins:
        plugin.contribute(HOOK, _register(table, plugin.name))


def _register(table: RouteTable, plugin: str) -> Callable[..., None]:
    def register(method: Any, path: str, handler: Any, *, role: Any, **keys: Any) -> None:
        route = Route(method=method, path=path, handler=handler, role=role, plugin=plugin, **{"tag": plugin, **keys})
        check_types(table.add(route))

    return register
