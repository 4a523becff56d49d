from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from gnomon import PluginError, hookimpl
from gnomon.plugins.connection_check import Connection, try_connections
from gnomon.plugins.plugin_set import PluginSet


def plugins(*some: Any) -> PluginSet:
    found = PluginSet()
    for plugin in some:
        found.add(plugin)
    return found


class Plain:
    @hookimpl
    def try_connection(self) -> str:
        time.sleep(0.001)  # it may block
        return f"reached from {threading.current_thread().name}"


class Waiting:
    @hookimpl
    async def try_connection(self, role: str) -> str:
        await asyncio.sleep(0)
        return f"reached for a {role}"


class Broken:
    @hookimpl
    async def try_connection(self) -> str:
        raise ConnectionRefusedError("nobody listens")


class Silent:
    @hookimpl
    def try_connection(self) -> None:
        pass


class Mute:
    @hookimpl
    async def try_connection(self) -> str:
        await asyncio.Event().wait()
        return "never"


class Nothing:
    @hookimpl
    def on_event(self) -> None:
        pass


async def test_each_plugin_that_has_the_hook_tells_what_it_found_on_a_thread_of_its_own() -> None:
    found = await try_connections(plugins(Plain, Nothing, Waiting), "follower", 60)

    assert found == [
        Connection("Plain", ok=True, message="reached from Plain-try-connection"),
        Connection("Waiting", ok=True, message="reached for a follower"),
    ]


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        (Broken, "ConnectionRefusedError: nobody listens"),
        (Silent, "TypeError: try_connection returned None, expected a sentence"),
    ],
)
async def test_what_a_plugin_raises_is_what_is_wrong_and_the_others_are_asked_all_the_same(
    plugin: type, told: str
) -> None:
    found = await try_connections(plugins(plugin, Waiting), "follower", 60)

    assert found == [
        Connection(plugin.__name__, ok=False, message=told),
        Connection("Waiting", ok=True, message="reached for a follower"),
    ]


async def test_a_plugin_that_does_not_come_back_is_not_waited_for() -> None:
    hangs = threading.Event()

    class Blocking:
        @hookimpl
        def try_connection(self) -> str:
            hangs.wait(60)
            return "late"

    found = await try_connections(plugins(Mute, Blocking), "leader", 0.05)
    hangs.set()

    assert [(one.plugin, one.ok) for one in found] == [("Mute", False), ("Blocking", False)]
    assert {one.message for one in found} == {"no reply within 0.05 s"}


def test_the_hook_knows_the_role_and_nothing_else() -> None:
    class Asking:
        @hookimpl
        def try_connection(self, kernel: Any) -> str:
            return str(kernel)

    with pytest.raises(PluginError, match=r"has the argument .kernel.*possible are role"):
        plugins(Asking)
