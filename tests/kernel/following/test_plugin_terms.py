"""Plugins of a kernel that leads, is deposed, follows another process, and leads again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gnomon import Duration, Job, Kernel, KernelApi
from gnomon.engine.leader import Leader
from gnomon.hookspecs import hookimpl
from leading_process import LeadingProcess, WaitingStore, depose, until

JOBS = [Job(id="tick", func="time:time", every=Duration(milliseconds=100))]


class Config(msgspec.Struct):
    number: int = 0


class Reloaded:
    """Notes its lives and the configs that it gets."""

    role = "leader"

    def __init__(self) -> None:
        self.lives: list[str] = []
        self.numbers: list[int] = []
        self.events = 0

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: KernelApi) -> AsyncIterator[None]:
        self.lives.append(str(kernel.health().role))
        yield

    @hookimpl
    def on_event(self) -> None:
        self.events += 1

    @hookimpl
    def reload(self, config: Config) -> Iterable[str]:
        self.numbers.append(config.number)
        return ["number"]


class Everywhere(Reloaded):
    role = "everywhere"


@pytest.fixture
def store(tmp_path: Path) -> WaitingStore:
    return WaitingStore(tmp_path / "log.db")


def leads(kernel: Kernel) -> bool:
    return isinstance(kernel.part, Leader) and not kernel.health().is_starting


async def test_each_plugin_that_lives_is_reloaded_once_in_every_role(store: WaitingStore, tmp_path: Path) -> None:
    here, everywhere = Reloaded(), Everywhere()
    plugins = {"here": here, "everywhere": everywhere}

    async def reload(kernel: Kernel, number: int) -> dict[str, frozenset[str]]:
        return await kernel.reload_plugins(dict.fromkeys(plugins, Config(number)))

    applied = frozenset({"number"})
    async with Kernel(store=store, jobs=JOBS, plugins=plugins) as kernel:
        assert await reload(kernel, 1) == {"here": applied, "everywhere": applied}

        await depose(kernel, store)
        other = LeadingProcess(tmp_path / "log.db", jobs=[job.definition() for job in JOBS])
        assert await reload(kernel, 2) == {"everywhere": applied}

        other.close()
        store.may_lead.set()
        await until(lambda: leads(kernel))
        assert await reload(kernel, 3) == {"here": applied, "everywhere": applied}
    assert (here.numbers, everywhere.numbers) == ([1, 3], [1, 2, 3])
    assert (here.lives, everywhere.lives) == (["leader", "leader"], ["leader"])


async def test_a_plugin_that_was_added_stays_over_terms_until_it_is_removed(store: WaitingStore) -> None:
    added: dict[str, Reloaded] = {"here": Reloaded(), "gone": Reloaded(), "everywhere": Everywhere()}
    async with Kernel(store=store, jobs=JOBS) as kernel:
        for name, plugin in added.items():
            await kernel.add_plugin(plugin, name)
        await kernel.reload_plugins(dict.fromkeys(added, Config(1)))

        await depose(kernel, store)
        await kernel.remove_plugin("gone")
        store.may_lead.set()
        await until(lambda: leads(kernel))
        await kernel.reload_plugins(dict.fromkeys(added, Config(2)))
        await until(lambda: added["here"].events > 0 and added["everywhere"].events > 0)
        assert {name: plugin.numbers for name, plugin in added.items()} == {
            "here": [1, 2],
            "gone": [1],
            "everywhere": [1, 2],
        }
        for name in ("here", "everywhere"):
            await kernel.remove_plugin(name)
        assert len(kernel.plugins) == 0
        assert await kernel.reload_plugins(dict.fromkeys(added, Config(3))) == {}


async def test_plugins_that_come_and_go_wait_while_the_role_changes(
    store: WaitingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, everywhere = Reloaded(), Everywhere()
    async with Kernel(store=store, jobs=JOBS) as kernel:
        await kernel.add_plugin(here, "here")
        follow, has_stopped, may_follow = kernel._follow, asyncio.Event(), asyncio.Event()

        async def held() -> None:
            has_stopped.set()
            await may_follow.wait()
            await follow()

        monkeypatch.setattr(kernel, "_follow", held)
        deposing = asyncio.ensure_future(depose(kernel, store))
        await has_stopped.wait()
        calls = asyncio.gather(
            kernel.remove_plugin("here"),
            kernel.add_plugin(everywhere, "everywhere"),
            kernel.reload_plugins({"here": Config(1)}),
        )
        await asyncio.sleep(0)
        may_follow.set()

        _, name, applied = await calls
        assert (name, applied) == ("everywhere", {})
        await deposing
        assert everywhere.lives == ["follower"]
        store.may_lead.set()
        await until(lambda: leads(kernel))
        assert here.lives == ["leader"]  # it was removed, and does not begin another life
