"""`/ws/progress/{task_id}`: a snapshot, then every change to the end of the run."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gnomon import Context, Job
from gnomon_web.live import tail


async def quick() -> None: ...


class Gate:
    """A job that goes on when the test says so: `steps` are taken one by one."""

    def __init__(self) -> None:
        self.turns = threading.Semaphore(0)

    def body(self, ctx: Context) -> str:
        ctx.steps("fetch", "store")
        ctx.step("fetch")
        for number in range(1, 4):
            self.turns.acquire(timeout=60)
            ctx.progress(processed_items=number, total_items=4, message=f"row {number}")
        ctx.step("store")
        self.turns.acquire(timeout=60)
        return "done"

    def go(self, times: int = 1) -> None:
        for _ in range(times):
            self.turns.release()


def fails() -> None:
    raise ValueError("no such table: prices")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def job(gate: Gate) -> Job:
    return Job(id="gate", func=gate.body, overlap="allow")


async def test_a_run_is_followed_from_a_snapshot_to_its_end(serve: Any, job: Job, gate: Gate) -> None:
    async with serve(job) as site:
        run = (await site.kernel.trigger("gate", actor="anna")).execution
        gate.go(2)
        async with site.open(f"/ws/progress/{run.id}") as viewer:
            snapshot = await viewer.next()
            gate.go(2)
            frames = await viewer.rest()

        end = await site.kernel.execution(run.id)
        last = (await site.kernel.history(run.id))[-1]
    assert snapshot["type"] == "snapshot"
    assert {frame["execution_id"] for frame in (snapshot, *frames)} == {run.id}
    assert {frame["job_id"] for frame in (snapshot, *frames)} == {"gate"}
    assert frames[-1]["type"] == "succeeded"
    assert (frames[-1]["status"], frames[-1]["progress"], frames[-1]["seq"]) == ("success", 100.0, last.position)
    assert [step["status"] for step in frames[-1]["steps"]] == ["completed", "completed"]
    assert frames[-1]["elapsed"] == end.execution_time
    assert viewer.ws.close_code == 1000
    seqs = [frame["seq"] for frame in (snapshot, *frames)]
    assert seqs == sorted(set(seqs))
    percents = [frame["progress"] or 0 for frame in frames]
    assert percents == sorted(percents)


async def test_a_run_that_has_just_been_accepted_is_followed_through_all_its_states(
    serve: Any, job: Job, gate: Gate
) -> None:
    async with serve(Job(id="gate", func=gate.body, max_instances=1, overlap="queue")) as site:
        first = (await site.kernel.trigger("gate")).execution
        second = (await site.kernel.trigger("gate")).execution
        async with site.open(f"/ws/progress/{second.id}") as viewer:
            snapshot = await viewer.next()
            gate.go(8)
            frames = await viewer.rest()
        await site.kernel.wait(first.id)

    kinds = [frame["type"] for frame in frames]
    assert (snapshot["status"], snapshot["elapsed"]) == ("scheduled", 0.0)
    assert kinds[0] == "started"
    assert kinds[-1] == "succeeded"
    assert set(kinds[1:-1]) == {"progress"}


async def test_a_finished_run_gets_a_snapshot_and_a_close(serve: Any) -> None:
    async with serve(Job(id="fails", func=fails)) as site:
        run = await site.run("fails")
        async with site.open(f"/ws/progress/{run}") as viewer:
            frames = await viewer.rest()

    assert [(frame["type"], frame["status"], frame["error_message"]) for frame in frames] == [
        ("snapshot", "failed", "no such table: prices")
    ]
    assert viewer.ws.close_code == 1000


async def test_a_viewer_that_resumes_gets_the_missed_frames_and_none_twice(serve: Any, job: Job, gate: Gate) -> None:
    async with serve(job) as site:
        run = (await site.kernel.trigger("gate")).execution
        gate.go()
        async with site.open(f"/ws/progress/{run.id}") as viewer:
            seq = (await viewer.next("snapshot"))["seq"]
            viewer.cut()
        gate.go(3)
        await site.kernel.wait(run.id)
        async with site.open(f"/ws/progress/{run.id}?after={seq}&log={site.kernel.log_id}") as viewer:
            frames = await viewer.rest()

        history = await site.kernel.history(run.id)
    expected = [event.position for event in history if event.position > seq]
    assert frames[0]["type"] != "snapshot"
    assert [frame["type"] for frame in frames][-1] == "succeeded"
    assert {frame["seq"] for frame in frames} <= set(expected)
    assert [frame["seq"] for frame in frames] == sorted({frame["seq"] for frame in frames})


async def test_a_viewer_that_has_seen_the_end_gets_nothing_more(serve: Any) -> None:
    async with serve(Job(id="quick", func=quick)) as site:
        run = await site.run("quick")
        async with site.open(f"/ws/progress/{run}?after={site.head}") as viewer:
            assert await viewer.rest() == []

    assert viewer.ws.close_code == 1000


async def test_a_position_of_another_log_is_answered_with_reset_and_a_snapshot(serve: Any) -> None:
    async with serve(Job(id="quick", func=quick)) as site:
        run = await site.run("quick")
        async with site.open(f"/ws/progress/{run}?after=1&log=another") as viewer:
            frames = await viewer.rest()

    assert [frame["type"] for frame in frames] == ["reset", "snapshot"]


async def test_a_job_is_followed_through_its_running_and_its_next_runs(serve: Any, job: Job, gate: Gate) -> None:
    async with serve(job, Job(id="other", func=quick)) as site:
        first = (await site.kernel.trigger("gate")).execution
        await site.kernel.execution(first.id)
        async with site.open("/ws/progress/gate") as viewer:
            snapshot = await viewer.next()
            second = (await site.kernel.trigger("gate")).execution
            await site.run("other")
            gate.go(8)
            frames: list[dict[str, Any]] = []
            while len([frame for frame in frames if frame["type"] == "succeeded"]) < 2:
                frames.append(await viewer.next())

    by_run = {run: [frame["type"] for frame in frames if frame["execution_id"] == run] for run in (first.id, second.id)}
    assert {frame["execution_id"] for frame in frames} == {first.id, second.id}
    assert snapshot["execution_id"] in {first.id, None}
    assert by_run[first.id][-1] == "succeeded"
    assert by_run[second.id][:2] == ["scheduled", "started"]
    assert by_run[second.id][-1] == "succeeded"


async def test_a_job_that_does_not_run_has_an_empty_snapshot(serve: Any) -> None:
    async with serve(Job(id="quick", func=quick)) as site, site.open("/ws/progress/quick") as viewer:
        snapshot = await viewer.next()

    assert (snapshot["type"], snapshot["job_id"], snapshot["execution_id"]) == ("snapshot", "quick", None)


async def test_a_viewer_of_a_job_that_was_cut_off_misses_no_transition(serve: Any, job: Job, gate: Gate) -> None:
    async with serve(job) as site:
        async with site.open("/ws/progress/gate") as viewer:
            seq = (await viewer.next("snapshot"))["seq"]
            run = (await site.kernel.trigger("gate")).execution
            seq = (await viewer.next("started"))["seq"]
            viewer.cut()
        gate.go(4)
        await site.kernel.wait(run.id)
        async with site.open(f"/ws/progress/gate?after={seq}") as viewer:
            last = frame = await viewer.next()
            while frame["type"] == "progress":
                last, frame = frame, await viewer.next()

    assert frame["type"] == "succeeded"
    assert [step["name"] for step in last["steps"]] == ["fetch", "store"], "earlier reports are folded in"


async def test_a_viewer_of_a_job_gets_a_reset_where_events_were_pruned(serve: Any) -> None:
    async with serve(Job(id="quick", func=quick)) as site:
        await site.run("quick")
    async with serve(Job(id="quick", func=quick)) as site:
        await site.store.prune(datetime.now(UTC) + timedelta(hours=1))
        async with site.open("/ws/progress/quick?after=2") as viewer:
            kinds = [(await viewer.next())["type"] for _ in range(2)]

    assert kinds == ["reset", "snapshot"]


async def test_an_unknown_task_is_a_problem_and_a_close_code(serve: Any) -> None:
    async with serve() as site, site.open("/ws/progress/nobody") as viewer:
        frames = await viewer.rest()

    assert (frames[0]["status"], frames[0]["title"]) == (404, "Unknown task")
    assert "nobody" in frames[0]["detail"]
    assert viewer.ws.close_code == 4404


async def test_a_viewer_that_does_not_read_gets_the_newest_progress_and_every_transition(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "FLUSH_S", 0.5)  # as if it took half a second to send a frame
    told = 20

    async def talkative(ctx: Context) -> None:
        for number in range(told):
            ctx.step(f"step {number}")
            await asyncio.sleep(0)

    async with serve(Job(id="talkative", func=talkative)) as site, site.open("/ws/progress/talkative") as viewer:
        await viewer.next("snapshot")
        run = await site.run("talkative")
        frames = [await viewer.next()]
        while frames[-1]["type"] != "succeeded":
            frames.append(await viewer.next())
        history = await site.kernel.history(run)

    assert [event.type for event in history].count("progress") == told
    kinds = [frame["type"] for frame in frames]
    assert [kind for kind in kinds if kind != "progress"] == ["scheduled", "started", "succeeded"]
    assert kinds.count("progress") < told
    assert [step["name"] for step in frames[-1]["steps"]] == [f"step {number}" for number in range(told)]


async def test_events_after_the_end_of_a_run_make_no_frame(serve: Any) -> None:
    async with serve(Job(id="quick", func=quick)) as site, site.open("/ws/progress/quick") as viewer:
        await viewer.next("snapshot")
        first = await site.run("quick")
        await site.kernel.hide(first, actor="anna")
        second = await site.run("quick")
        frames = [await viewer.next() for _ in range(6)]

    assert [frame["type"] for frame in frames] == ["scheduled", "started", "succeeded"] * 2
    assert [frame["execution_id"] for frame in frames] == [first] * 3 + [second] * 3
