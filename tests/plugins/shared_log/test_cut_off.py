"""A kernel that is cut off from its server, by a proxy in its way, while the server and other kernels go on."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gnomon import Context, Job, Kernel
from gnomon.cli.commands.takeover import FREE
from gnomon.domain.events import Event
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import DeposedError, StoreInUseError
from gnomon.hookspecs import hookimpl
from gnomon.testing import check_log
from gnomon_shared_log.lease import lease_holder
from gnomon_shared_log.shared_log import SharedLog
from log_places import LogServer, config_section, place_on
from proxies import Proxy, proxied
from servers import eventually

MakeStore = Callable[..., SharedLog[Any]]


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Shorten the time limits of calls and of the lease, so that a kernel soon notices that it is cut off."""
    limits = {"timeout": timedelta(seconds=1), "lease": timedelta(seconds=2), "patience": timedelta(minutes=1)}
    return settings | limits


@pytest.fixture
async def proxy(server: LogServer) -> AsyncIterator[Proxy]:
    async with proxied(f"127.0.0.1:{server.port}") as proxy:
        yield proxy


@pytest.fixture
def make_far_store(make_store: MakeStore, proxy: Proxy, server: LogServer, database: str, tmp_path: Path) -> MakeStore:
    """Provide a function that makes stores behind the proxy."""
    return partial(make_store, place=place_on(server, database, proxy.port), spool=tmp_path / "far.db")


@pytest.fixture(autouse=True)
def on_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide everything from kernels about each other that their leases do not show."""
    describe = "gnomon_shared_log.lease.lease.describe_process"
    monkeypatch.setattr(describe, lambda: lease_holder.Process("far", 7, None, None))


class Bodies:
    """Jobs whose bodies wait until they may end, and count how often they began for an execution."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.may_end = asyncio.Event()

    def jobs(self) -> list[Job]:
        async def slow(context: Context) -> str:
            self.began.append(context.execution_id)
            await self.may_end.wait()
            return "done"

        async def quick(context: Context) -> None:
            self.began.append(context.execution_id)

        return [Job(id="slow", func=slow), Job(id="quick", func=quick, overlap="allow")]


def waits_to_lead(store: SharedLog[Any]) -> SharedLog[Any]:
    """Replace `open` of a store by one that waits for its turn; return the store."""
    open_once = store.open

    async def open_in_turn(*, read_only: bool = False) -> None:
        while True:
            try:
                await open_once(read_only=read_only)
            except StoreInUseError:
                await asyncio.sleep(0.1)
            else:
                return

    store.open = open_in_turn  # type: ignore[method-assign]
    return store


async def test_a_kernel_that_is_cut_off_starts_nothing_and_goes_on_where_nobody_led(
    make_far_store: MakeStore, proxy: Proxy
) -> None:
    bodies = Bodies()
    store = make_far_store()
    async with Kernel(store=store, jobs=bodies.jobs()) as kernel:
        slow = (await kernel.trigger("slow")).execution.id
        await eventually(lambda: bodies.began == [slow])
        proxy.part()

        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(kernel.trigger("quick"))
            await eventually(lambda: not kernel.health().accepts_runs)
            health = kernel.health()
            bodies.may_end.set()
            await eventually(lambda: "another kernel may lead by now" in str(kernel.health().store_problem))
            assert bodies.began == [slow]
            assert not asked.done()
            proxy.join()
            quick = (await asked).execution.id

        assert health.state == "degraded"
        reason = f'no runs are started while events do not reach {store._log.product}, as `cut_off = "hold"`'
        assert reason in str(health.problem)
        assert (await kernel.wait(quick)).status == "success"
        assert (await kernel.wait(slow)).status == "success"
        await eventually(lambda: kernel.health().accepts_runs)
        assert bodies.began == [slow, quick]


async def test_the_end_of_a_run_reaches_the_kernel_that_led_meanwhile(
    make_far_store: MakeStore, make_store: MakeStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.engine.late_ends.INTERVAL_S", 0.05)
    bodies, others = Bodies(), Bodies()
    others.may_end.set()
    seen: list[Event] = []

    class Viewer:
        @hookimpl
        def on_event(self, event: Event) -> None:
            seen.append(event)

    async with Kernel(store=make_far_store(), jobs=bodies.jobs(), plugins=[Viewer()]) as cut_off:
        slow = (await cut_off.trigger("slow")).execution.id
        await eventually(lambda: bodies.began == [slow])
        proxy.part()
        bodies.may_end.set()
        asked = asyncio.create_task(cut_off.trigger("quick", idempotency_key="a"))
        await eventually(lambda: not cut_off.health().accepts_runs)

        standby = waits_to_lead(make_store())
        async with Kernel(store=standby, jobs=others.jobs()) as leader:
            assert (await leader.execution(slow)).reason == "lost"
            quick = (await leader.trigger("quick", idempotency_key="a")).execution.id
            assert (await leader.wait(quick)).status == "success"
            proxy.join()

            await eventually(lambda: cut_off.health().state == "deposed")
            with pytest.raises(DeposedError):
                await asked

            async def is_merged() -> bool:
                return "late_result" in [event.type for event in await leader.history(slow)]

            await eventually(is_merged)
            assert (await leader.execution(slow)).status == "failed"
            history = await leader.history(slow)
            assert (history[-1].type, history[-1].outcome, history[-1].return_value) == (  # type: ignore[attr-defined]
                "late_result",
                "succeeded",
                "done",
            )
            log = await standby.read(limit=10_000)
            check_log(log, (await leader.executions(ExecutionQuery())).items, await standby.jobs())
            assert {event.position: event for event in seen}.items() <= {event.position: event for event in log}.items()
            assert await standby.late_ends() == []
    assert (bodies.began, others.began) == ([slow], [quick])


async def test_an_end_that_outlived_its_kernel_is_the_end_of_the_run_where_nobody_led(
    make_far_store: MakeStore, proxy: Proxy
) -> None:
    bodies = Bodies()
    store = make_far_store()
    kernel = await Kernel(store=store, jobs=bodies.jobs(), drain=timedelta(0), role="leader").__aenter__()
    slow = (await kernel.trigger("slow")).execution.id
    await eventually(lambda: bodies.began == [slow])
    proxy.part()
    bodies.may_end.set()
    await eventually(lambda: store._writer is not None and store._writer._ends._kept)
    # As after SIGKILL: nothing more is written, and the lease is not released.
    kernel._leader._journal._stop("deposed", "killed")
    await kernel.__aexit__(None, None, None)
    proxy.join()

    async with Kernel(store=waits_to_lead(make_far_store()), jobs=Bodies().jobs()) as again:
        execution = await again.execution(slow)
        assert (execution.status, execution.return_value) == ("success", "done")
        assert [event.type for event in await again.history(slow)] == ["scheduled", "started", "succeeded"]


async def test_a_standby_waits_while_a_kernel_runs_on_alone_and_leads_after_a_takeover(
    make_far_store: MakeStore, make_store: MakeStore, proxy: Proxy, tmp_path: Path
) -> None:
    bodies = Bodies()
    far = make_far_store(cut_off="run")
    async with Kernel(store=far, jobs=bodies.jobs(), drain=timedelta(0)) as cut_off:
        proxy.part()
        runs = [(await cut_off.trigger("quick")).execution.id for _ in range(2)]
        for run in runs:
            assert (await cut_off.wait(run)).status == "success"
        spooled = far._spool.events
        with pytest.raises(StoreInUseError, match="use `gnomon takeover`"):
            await make_store().open()

        holder = await make_store().holder()
        assert holder is not None
        assert not holder.is_active
        assert any("the next kernel runs the same fires again" in line for line in holder.consequences)
        await make_store().take_over(holder)

        async with Kernel(store=make_store(), jobs=Bodies().jobs()) as leader:
            proxy.join()
            await eventually(lambda: cut_off.health().state == "deposed")
            assert "took the lease" in str(cut_off.health().problem)
            head = leader.health().position
    store = waits_to_lead(make_far_store(cut_off="run"))
    async with store:  # the next start of the kernel that was replaced
        assert [event.position for event in await store.read()] == list(range(1, await store.head() + 1))
        assert await store.head() >= head
    (aside,) = tmp_path.glob("far.db.refused-*")
    kept = sqlite3.connect(aside)
    assert kept.execute("SELECT sum(events) FROM entries").fetchone()[0] >= spooled
    kept.close()


async def test_a_kernel_that_renews_its_lease_is_not_taken_over(
    make_far_store: MakeStore, make_store: MakeStore
) -> None:
    async with make_far_store(cut_off="run") as store:
        holder = await make_store().holder()
        assert holder is not None
        assert holder.is_active
        with pytest.raises(StoreInUseError, match="has renewed its lease"):
            await make_store().take_over(holder)
        assert store.health().accepts_runs
    assert await make_store().holder() is None


async def test_takeover_says_what_it_will_do_and_asks(
    make_far_store: MakeStore, make_store: MakeStore, place: str, proxy: Proxy, tmp_path: Path
) -> None:
    (tmp_path / "gnomon.toml").write_text(config_section(place, tmp_path / "spool.db"), encoding="utf-8")

    async def takeover(*options: str, answer: bytes = b"") -> tuple[int | None, str]:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "gnomon.cli", "takeover", *options)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate(answer)
        return process.returncode, said.decode()

    store = make_far_store(cut_off="run")
    async with store:
        code, said = await takeover("--yes")
        assert code == 1
        assert "which is active: stop it there instead" in " ".join(said.split())

        proxy.part()
        code, said = await takeover(answer=b"n\n")
        assert code == 1
        for words in ("is led by process 7 on far", "has been silent for", "Take the log from it? [y/N]"):
            assert words in " ".join(said.split())
        assert await make_store().holder() is not None

        assert (await takeover("--yes"))[0] == 0
        assert await make_store().holder() is None
        assert await takeover() == (0, "looking whether the kernel is active ...\n" + FREE + "\n")
        proxy.join()
        await eventually(lambda: store.health().state == "lost")
