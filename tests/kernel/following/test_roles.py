"""Kernels on one SQLite log: one leads in another process, and those of the tests follow it and take over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import (
    Duration,
    Event,
    ExecutionQuery,
    GnomonError,
    Job,
    JobError,
    Kernel,
    KernelLed,
    StoreInUseError,
    UnknownExecutionError,
    UnknownJobError,
    hookimpl,
)
from gnomon.engine import passed_calls
from gnomon.engine.leader import Leader
from gnomon.errors import ForeignJobError, JobExistsError, NoLogError, StoreUnavailableError
from gnomon.following.follower import Follower
from gnomon.following.log_tail import LogTail
from gnomon_sqlite.store import SqliteStore
from leading_process import PATIENCE, LeadingProcess, until

HOUR = Duration(hours=1)


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[LeadingProcess]:
    one = LeadingProcess(tmp_path / "log.db")
    yield one
    one.close()


def kernel_of(folder: Path, **settings: Any) -> Kernel:
    return Kernel(store=SqliteStore(folder / "log.db"), node="follower", **settings)


@asynccontextmanager
async def follower_of(folder: Path, **settings: Any) -> AsyncIterator[Kernel]:
    async with kernel_of(folder, **settings) as kernel:
        assert has_role(kernel, "follower")
        yield kernel


def has_role(kernel: Kernel, role: str) -> bool:
    return isinstance(kernel.part, Leader if role == "leader" else Follower) and not kernel.health().is_starting


async def test_a_follower_answers_every_question_from_the_log(leader: LeadingProcess, tmp_path: Path) -> None:
    async with follower_of(tmp_path) as kernel:
        run = (await kernel.trigger("kept", labels={"tenant": "7"})).execution
        ended = await kernel.wait(run.id)

        assert ended.status == "success"
        assert [view.job.id for view in await kernel.jobs()] == ["kept", "rest", "tick"]
        view = await kernel.job("kept")
        assert (view.job.func, view.origin, view.running, view.waiting) == ("time:time", "code", [], [])
        assert view.next_fire is not None
        assert [event.type for event in await kernel.history(run.id)] == ["scheduled", "started", "succeeded"]
        assert await kernel.execution(run.id) == ended
        assert (await kernel.executions(ExecutionQuery(job_id="kept"))).items[0].id == run.id
        assert (await kernel.timing(run.id)).elapsed is not None
        assert [one.status for one in await kernel.wait_many([run.id])] == ["success"]
        assert (await kernel.parameters("kept"))["type"] == "object"
        positions = [event.position for event in await kernel.events(limit=100_000)]
        assert positions == list(range(1, len(positions) + 1))
        with pytest.raises(UnknownJobError, match="did you mean 'kept'"):
            await kernel.job("keptt")
        with pytest.raises(UnknownExecutionError):
            await kernel.execution("none")


async def test_orders_reach_the_leader_and_are_seen_at_once(leader: LeadingProcess, tmp_path: Path) -> None:
    async with follower_of(tmp_path) as kernel:
        job = await kernel.add_job("time:time", id="added", every="2h", owner="t7", actor="ann", reason="as asked")
        assert (job.id, job.every) == ("added", (await kernel.job("added")).job.every)
        assert (await kernel.job("added")).state.owner == "t7"
        assert (await kernel.change_job("added", description="changed")).description == "changed"
        assert await kernel.pause("added", actor="ann", reason="why") is True
        assert (await kernel.job("added")).state.paused_reason == "why"
        assert await kernel.pause("added") is False
        with pytest.raises(JobExistsError) as refused:
            await kernel.add_job("time:time", id="added")
        assert refused.value.job_id == "added"
        with pytest.raises(ForeignJobError):
            await kernel.remove_job("kept")
        await kernel.remove_job("added")
        assert "added" not in [view.job.id for view in await kernel.jobs()]

        run = (await kernel.trigger("rest", actor="ann")).execution
        await until_running(kernel, run.id)
        live = [live.execution for live in await kernel.live_runs()]
        assert [one.id for one in live if one.job_id != "tick"] == [run.id]
        assert (await kernel.job("rest")).running == [run.id]
        await kernel.fail(run.id, "it is dead", actor="ann")
        assert (await kernel.wait(run.id)).status == "failed"
        assert await kernel.hold(actor="ann") is True
        assert await kernel.release(actor="ann") is True
        assert {"pause", "trigger", "add", "mark_failed"} <= {
            action.action for action in (await kernel.actions(actions_of("ann"))).items
        }


async def test_a_job_that_only_this_process_could_run_is_refused(leader: LeadingProcess, tmp_path: Path) -> None:
    def local() -> None: ...

    async with follower_of(tmp_path) as kernel:
        with pytest.raises(JobError, match="top level of a module"):
            await kernel.add_job(local)
        with pytest.raises(JobError, match="follows the kernel"):
            await kernel.add_job("time:time", id="a", temporary=True)
        with pytest.raises(JobError, match="nan would be read back from the log as None"):
            await kernel.trigger("kept", kwargs={"a": float("nan")})
        with pytest.raises(GnomonError, match="pass `owner`"):
            await kernel.apply_jobs([])


class Viewer:
    """Lives everywhere, and keeps the positions that it has received."""

    role = "everywhere"

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.lives = 0

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.lives += 1
        yield

    @hookimpl
    def on_event(self, event: Event) -> None:
        self.positions.append(event.position)


class Recorder(Viewer):
    """Lives with the leader."""

    role = "leader"


@pytest.mark.parametrize(
    ("end", "outcome"), [(LeadingProcess.kill, ("failed", "lost")), (LeadingProcess.stop, ("cancelled", None))]
)
async def test_a_follower_leads_when_the_leader_is_gone(
    leader: LeadingProcess, tmp_path: Path, end: Callable[[LeadingProcess], None], outcome: tuple[str, str | None]
) -> None:
    viewer, recorder = Viewer(), Recorder()
    tick = Job(id="tick", func="time:time", every=Duration(milliseconds=200))
    async with follower_of(tmp_path, plugins={"viewer": viewer, "recorder": recorder}, jobs=[tick]) as kernel:
        run = (await kernel.trigger("rest")).execution
        waiting = asyncio.create_task(kernel.wait(run.id))
        await until(lambda: len(viewer.positions) > 5)
        assert recorder.lives == 0

        await asyncio.to_thread(end, leader)
        await until(lambda: has_role(kernel, "leader"))

        assert (await waiting).status == ("lost" if end is LeadingProcess.kill else "cancelled") or (
            await waiting
        ).is_over
        fired = (await kernel.trigger("tick")).execution
        await kernel.wait(fired.id)
        await until(lambda: viewer.positions[-1] >= kernel.health().position - 3)
        assert (viewer.lives, recorder.lives) == (1, 1)
        led = [event for event in await kernel.events(limit=100_000) if isinstance(event, KernelLed)]
        assert [(one.node, one.why) for one in led] == [("leader", "start"), ("follower", "take_over")]
    assert viewer.positions == list(range(viewer.positions[0], viewer.positions[0] + len(viewer.positions)))


async def test_a_follower_that_cannot_lead_is_degraded_until_it_does(
    leader: LeadingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.kernel.RETRY_S", 0.01)
    opened, is_full, open_store = asyncio.Event(), True, SqliteStore.open

    async def opening(self: SqliteStore, *, read_only: bool = False) -> None:
        if not read_only and is_full:
            opened.set()
            raise StoreUnavailableError("the file cannot be opened: check open-file limits")
        await open_store(self, read_only=read_only)

    async with follower_of(tmp_path) as kernel:
        monkeypatch.setattr(SqliteStore, "open", opening)
        await asyncio.to_thread(leader.kill)
        await opened.wait()
        words = "nobody leads the log, and this kernel cannot: the file cannot be opened: check open-file limits"
        await until(lambda: words in (kernel.health().problem or ""))
        assert (kernel.health().state, kernel.health().problems["role"]) == ("degraded", words)
        is_full = False
        await until(lambda: has_role(kernel, "leader"))
        assert "role" not in kernel.health().problems


async def test_a_kernel_that_waits_for_its_store_to_lead_is_degraded(
    leader: LeadingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_full, append = True, SqliteStore.append

    async def appending(self: SqliteStore, *args: Any) -> None:
        if is_full:
            raise StoreUnavailableError("the disk is full")
        await append(self, *args)

    async with follower_of(tmp_path) as kernel:
        monkeypatch.setattr(SqliteStore, "append", appending)
        await asyncio.to_thread(leader.kill)
        await until(lambda: "this kernel cannot: the disk is full" in (kernel.health().problem or ""))
        assert kernel.health().state == "degraded"
        monkeypatch.setattr(passed_calls, "SETTLE_LIMIT_S", 0.01)
        for call in (kernel.jobs, kernel.hold):
            with pytest.raises(StoreUnavailableError, match=r"has answered nothing for 0\.01 s: .*the disk is full"):
                await call()
        is_full = False
        await until(lambda: has_role(kernel, "leader"))
        assert "role" not in kernel.health().problems


async def test_a_folder_that_was_moved_is_reported_once(
    leader: LeadingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.kernel.NO_LOG_RETRY_S", 0.01)
    monkeypatch.setattr(passed_calls, "SETTLE_LIMIT_S", 0.01)
    tries, start, moved = 0, Follower.start, tmp_path.with_name("moved")

    async def starting(self: Follower) -> None:
        nonlocal tries
        tries += 1
        await start(self)

    async with follower_of(tmp_path) as kernel:
        monkeypatch.setattr(Follower, "start", starting)
        tmp_path.rename(moved)
        with capture_logs() as logged:
            await asyncio.to_thread(leader.kill)
            await until(lambda: tries > 5)
            assert "there is no folder" in (kernel.health().problem or "")
            with pytest.raises(StoreUnavailableError, match="there is no folder"):
                await kernel.jobs()
            moved.rename(tmp_path)
            await until(lambda: has_role(kernel, "leader"))
    said = [line["event"] for line in logged if line["log_level"] in {"warning", "error"}]
    assert said.count("the log cannot be read yet") <= 2


async def test_a_store_that_is_unavailable_for_a_moment_does_not_put_off_the_next_leader(
    leader: LeadingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.kernel.RETRY_S", 10 * PATIENCE)  # that is for problems that stay
    started: list[Kernel] = []
    start = Leader.start

    async def starting(self: Leader, owner: Any) -> None:
        started.append(kernel)
        if len(started) < 3:
            raise StoreUnavailableError("the server did not answer in time")
        await start(self, owner)

    async with follower_of(tmp_path) as kernel:
        monkeypatch.setattr(Leader, "start", starting)
        await asyncio.to_thread(leader.kill)
        await until(lambda: has_role(kernel, "leader"))


async def test_a_tail_that_swallows_a_cancellation_does_not_put_off_the_next_leader(
    leader: LeadingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = LogTail.run

    async def deaf(self: LogTail) -> None:
        with suppress(asyncio.CancelledError):
            await run(self)
        await asyncio.Event().wait()

    monkeypatch.setattr(LogTail, "run", deaf)
    async with follower_of(tmp_path) as kernel:
        await asyncio.to_thread(leader.kill)
        await until(lambda: has_role(kernel, "leader"))


async def test_newer_definitions_stay_at_a_take_over(leader: LeadingProcess, tmp_path: Path) -> None:
    kept = Job(id="kept", func="time:time", every=HOUR)
    async with follower_of(tmp_path, jobs=[kept]) as kernel:
        leader.tell("reload 5")
        await asyncio.to_thread(leader.kill)
        await until(lambda: has_role(kernel, "leader"))

        assert str((await kernel.job("kept")).job.every) == "5h"
        assert [view.job.id for view in await kernel.jobs()] == ["kept", "rest", "tick"]
        led = [event for event in await kernel.events(limit=100_000) if isinstance(event, KernelLed)]
        assert [(one.why, one.deployment) for one in led] == [("start", 1), ("reload", 2), ("take_over", 2)]


async def test_a_process_of_an_older_revision_that_is_started_late_says_so_and_leads_with_the_newer_definitions(
    tmp_path: Path,
) -> None:
    tick = {"id": "tick", "func": "time:time", "every": "5h"}
    with closing(LeadingProcess(tmp_path / "log.db", jobs=[tick], revision=42)) as leader:
        async with follower_of(tmp_path, jobs=[Job(id="tick", func="time:time", every=HOUR)], revision=41) as kernel:
            assert kernel.health().problems["revision"] == (
                "this process is of revision 41, and the log has revision 42: if it comes to lead, it leads with the "
                "definitions of the log; start the newer version in its place"
            )
            await asyncio.to_thread(leader.kill)
            await until(lambda: has_role(kernel, "leader"))

            assert str((await kernel.job("tick")).job.every) == "5h"
            assert "it leads with the definitions of the log" in kernel.health().problems["revision"]
            assert [(one.revision, one.role) for one in await kernel.kernels()] == [("41", "leader")]


async def test_a_process_that_was_started_with_newer_definitions_deploys_them(
    leader: LeadingProcess, tmp_path: Path
) -> None:
    async with follower_of(tmp_path, jobs=[Job(id="new", func="time:time", every=HOUR)]) as kernel:
        assert [view.job.id for view in await kernel.jobs()] == ["kept", "rest", "tick"]
        await asyncio.to_thread(leader.stop)
        await until(lambda: has_role(kernel, "leader"))

        assert [view.job.id for view in await kernel.jobs()] == ["new"]


async def test_the_role_decides_who_may_lead(leader: LeadingProcess, tmp_path: Path) -> None:
    with pytest.raises(StoreInUseError):
        async with kernel_of(tmp_path, role="leader"):
            pass
    tick = Job(id="tick", func="time:time", every=Duration(milliseconds=200))
    async with follower_of(tmp_path, role="follower") as never, follower_of(tmp_path, jobs=[tick]) as next_one:
        await asyncio.to_thread(leader.kill)
        await until(lambda: has_role(next_one, "leader"))
        assert has_role(never, "follower")
        assert (await never.trigger("tick", actor="ann")).is_new


async def test_a_follower_without_a_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.kernel.NO_LOG_LIMIT_S", 0.0)
    with pytest.raises(NoLogError):
        async with kernel_of(tmp_path, role="follower"):
            pass


async def test_a_plugin_that_lives_everywhere_outlives_a_term_where_it_was_added_while_the_kernel_led(
    tmp_path: Path,
) -> None:
    viewer = Viewer()
    tick = Job(id="tick", func="time:time", every=Duration(milliseconds=50))
    async with kernel_of(tmp_path, jobs=[tick]) as kernel:
        await kernel.add_plugin(viewer, "viewer")
        first = kernel._leader
        await first._journal.lose("a test ended the term")
        await until(lambda: kernel.part is not first and has_role(kernel, "leader"))
        head = kernel.health().position
        await until(lambda: bool(viewer.positions) and viewer.positions[-1] > head + 5)

        assert viewer.lives == 1
        await kernel.remove_plugin("viewer")
        assert "viewer" not in kernel.plugins
    assert viewer.positions == list(range(viewer.positions[0], viewer.positions[0] + len(viewer.positions)))


async def test_a_leader_that_was_deposed_leads_again_where_the_log_is_free(tmp_path: Path) -> None:
    viewer, recorder = Viewer(), Recorder()
    plugins = {"viewer": viewer, "recorder": recorder}
    async with kernel_of(
        tmp_path, jobs=[Job(id="tick", func="time:time", every=Duration(milliseconds=50))], plugins=plugins
    ) as kernel:
        await until(lambda: len(viewer.positions) > 5)
        await kernel._leader._journal.lose("a test ended the term")
        await until(lambda: recorder.lives == 2)
        head = kernel.health().position
        await until(lambda: viewer.positions[-1] > head + 5)

        assert viewer.lives == 1
        log = await kernel.events(limit=100_000)
        assert [event.why for event in log if isinstance(event, KernelLed)] == ["start", "take_over"]
    assert viewer.positions == list(range(1, len(viewer.positions) + 1))


async def until_running(kernel: Kernel, execution_id: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await kernel.execution(execution_id)).status != "running":  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.01)


def actions_of(actor: str) -> Any:
    from gnomon.domain.records import ActionQuery

    return ActionQuery(actor=actor, limit=100)
