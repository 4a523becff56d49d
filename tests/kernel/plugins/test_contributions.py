"""Plugin objects of an embedded kernel: their names, their store, their jobs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon import Event, Job, JobError, Kernel, KernelApi, PluginError, hookimpl
from gnomon_reaper import ReaperPlugin
from gnomon_sqlite import SqlitePlugin, SqliteStore


class Reports:
    """A plugin with jobs, and with its own job key."""

    class JobOptions(msgspec.Struct):
        audience: str = "all"

    def __init__(self, greeting: str = "hello", *keys: dict[str, Any]) -> None:
        self.greeting = greeting
        self.keys = keys

    @hookimpl
    def register_jobs(self, register: Callable[..., None]) -> None:
        register(id=f"report.{self.greeting}", func=self.report, every="1h", audience="board")
        register(Job(id=f"once.{self.greeting}", func=self.report))
        for keys in self.keys:
            register(**keys)

    async def report(self) -> str:
        return self.greeting


async def test_a_kernel_serves_the_jobs_of_its_plugin_objects() -> None:
    async with Kernel(plugins=[Reports("ahoy")]) as kernel:
        views = {view.job.id: view.job for view in await kernel.jobs()}
        triggered = await kernel.trigger("report.ahoy")
        execution = await kernel.wait(triggered.execution.id)

    assert sorted(views) == ["once.ahoy", "report.ahoy"]
    assert views["report.ahoy"].options == {"audience": "board"}
    assert execution.return_value == "ahoy"


async def test_the_fixture_serves_the_jobs_of_plugins(gnomon_kernel: Callable[..., Kernel]) -> None:
    async with gnomon_kernel(plugins=[Reports()]) as kernel:
        assert [view.job.id for view in await kernel.jobs()] == ["once.hello", "report.hello"]


async def test_a_kernel_keeps_its_log_in_the_store_of_a_plugin_object(tmp_path: Path) -> None:
    config = SqlitePlugin.Config(path=tmp_path / "service.db")
    async with Kernel(plugins=[SqlitePlugin(config), Reports()]) as kernel:
        assert kernel.health().store == "sqlite"
        await kernel.pause("report.hello")

    async with Kernel(plugins=[SqlitePlugin(config), Reports()]) as kernel:
        assert (await kernel.job("report.hello")).state.paused


async def test_a_store_that_is_given_counts_more_than_that_of_a_plugin(tmp_path: Path) -> None:
    plugin = SqlitePlugin(SqlitePlugin.Config(path=tmp_path / "unused.db"))
    async with Kernel(store=SqliteStore(tmp_path / "used.db"), plugins=[plugin]):
        pass

    assert (tmp_path / "used.db").exists()
    assert not (tmp_path / "unused.db").exists()


def test_two_stores_are_refused_with_both_names(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"plugin 'second' provides a store, and so does 'first'"):
        Kernel(plugins={"first": SqlitePlugin(), "second": SqlitePlugin()})


def test_an_object_has_the_name_that_its_section_would_have() -> None:
    kernel = Kernel(plugins=[ReaperPlugin(), Reports()])

    assert [plugin.name for plugin in kernel.plugins] == ["reaper", "Reports"]


def test_two_objects_of_one_class_have_the_names_of_a_mapping() -> None:
    kernel = Kernel(plugins={"morning": Reports("good morning".replace(" ", "-")), "evening": Reports("bye")})

    assert [plugin.name for plugin in kernel.plugins] == ["morning", "evening"]


def test_two_objects_without_names_are_refused_with_the_way_to_name_them() -> None:
    with pytest.raises(PluginError, match=r"give each its own, such as plugins=\{'Reports': ..., 'Reports-2': ...\}"):
        Kernel(plugins=[Reports("a"), Reports("b")])


def test_a_job_that_is_not_valid_names_its_plugin_and_key() -> None:
    with pytest.raises(JobError, match=r"plugin 'Reports' job 'x'\.evry: unknown key"):
        Kernel(plugins=[Reports("a", {"id": "x", "func": print, "evry": "1h"})])


def test_a_job_of_a_plugin_does_not_replace_one_of_the_program() -> None:
    with pytest.raises(JobError, match=r"two jobs have the id 'once\.hello'"):
        Kernel(jobs=[Job(id="once.hello", func=print)], plugins=[Reports()])


async def test_a_plugin_may_come_and_go_while_the_kernel_runs() -> None:
    class Seen:
        def __init__(self) -> None:
            self.types: list[str] = []
            self.is_in = False

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, kernel: KernelApi) -> AsyncIterator[None]:
            self.is_in = True
            yield
            self.is_in = False

        @hookimpl
        def on_event(self, event: Event) -> None:
            self.types.append(event.type)

    seen = Seen()
    async with Kernel(jobs=[Job(id="j", func=str)]) as kernel:
        await kernel.pause("j")
        assert await kernel.add_plugin(seen, "seen") == "seen"
        assert seen.is_in
        await kernel.resume("j")
        await kernel.remove_plugin("seen")
        assert (seen.is_in, seen.types) == (False, ["job_resumed"])
        await kernel.pause("j")
        await kernel.add_plugin(seen, "seen")

    assert (seen.is_in, seen.types) == (False, ["job_resumed", "kernel_stopped"])


async def test_a_plugin_that_takes_part_in_decisions_is_refused_while_the_kernel_runs() -> None:
    async with Kernel() as kernel:
        with pytest.raises(PluginError, match="has register_jobs, so it is given to the kernel before the start"):
            await kernel.add_plugin(Reports())
        assert not list(kernel.plugins)
