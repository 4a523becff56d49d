"""The hook `register_routes`, by which other plugins add calls to the server.

    class Reports:
        @hookimpl(optionalhook=True)
        def register_routes(self, register):
            register("GET", "/reports/{name}", self.report, role="viewer")

        async def report(self, request, name: str) -> Report: ...

`optionalhook` lets the plugin run where gnomon_web is not enabled. The keywords of `register` are the fields of
`gnomon_web.http.routes.Route`, whose docstring describes the parameters of a handler; one that acts asks for `caller`.
The server calls handlers on its own event loop, not on that of their plugin, and they must not block it. An exception
is answered with 500 and the plugin's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnomon import KernelApi
from gnomon_web.http.openapi import check_types
from gnomon_web.http.routes import Route, RouteTable

HOOK = "register_routes"


def add_contributions(kernel: KernelApi, table: RouteTable) -> None:
    """Add the routes of every plugin; PluginError names the plugin whose route cannot be served."""
    for plugin in kernel.plugins:
        plugin.contribute(HOOK, _register(table, plugin.name, is_of_leader=plugin.is_of_leader))


def _register(table: RouteTable, plugin: str, *, is_of_leader: bool) -> Callable[..., None]:
    def register(method: Any, path: str, handler: Any, *, role: Any, **keys: Any) -> None:
        fields = {"tag": plugin, "is_of_leader": is_of_leader, **keys}
        route = Route(method=method, path=path, handler=handler, role=role, plugin=plugin, **fields)
        check_types(table.add(route))

    return register
