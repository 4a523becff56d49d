"""`/ws/live`: a snapshot of everything, then changes at the pace of the page."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gnomon import Context, Job
from gnomon_web.live import ack_window, dashboard_feed, log_feed, snapshots, websocket


async def quick() -> None: ...


QUICK = Job(id="quick", func=quick, overlap="allow")


async def catch_up(page: Any, seq: int) -> list[dict[str, Any]]:
    """Read deltas up to a position, as a page does, and return their events."""
    found: list[dict[str, Any]] = []
    while True:
        frame = await page.next("delta")
        found += frame["events"]
        await page.say(t="ack", seq=frame["seq"])
        if frame["seq"] >= seq:
            return found


async def test_a_page_gets_a_snapshot_and_then_every_later_event(serve: Any) -> None:
    async with serve(QUICK) as site:
        before = await site.run("quick")
        async with site.dashboard() as page:
            snapshot = await page.next()
            await site.run("quick")
            events = await catch_up(page, site.head)

        log = [event.position for event in await site.log()]
    assert (snapshot["t"], snapshot["reason"], snapshot["log"]) == ("snapshot", "first", site.kernel.log_id)
    assert (snapshot["role"], snapshot["actor"]) == ("admin", "local")
    assert [job["id"] for job in snapshot["jobs"]] == ["quick"]
    assert [run["_id"] for run in snapshot["recent"]] == [before]
    assert [event["position"] for event in events] == log[snapshot["seq"] :]


async def test_running_and_waiting_runs_are_in_the_snapshot(serve: Any) -> None:
    gate = asyncio.Event()

    async def waits() -> None:
        await gate.wait()

    async with serve(Job(id="waits", func=waits, overlap="queue")) as site:
        ids = {(await site.kernel.trigger("waits")).execution.id for _ in range(2)}
        async with site.dashboard() as page:
            snapshot = await page.next()
        gate.set()

    assert {run["_id"] for run in snapshot["running"]} == ids
    assert {run["status"] for run in snapshot["running"]} <= {"running", "scheduled"}
    assert snapshot["recent"] == []


async def test_a_delta_has_the_jobs_that_its_events_change(serve: Any) -> None:
    async with serve(QUICK, Job(id="other", func=quick)) as site, site.dashboard() as page:
        await page.next("snapshot")
        await site.kernel.pause("quick", actor="anna")
        delta = await page.next("delta")
        await site.kernel.apply_jobs([QUICK])
        removal = await page.next("delta")

    assert [(job["id"], job["paused"]) for job in delta["jobs"]] == [("quick", True)]
    assert (removal["jobs"], removal["removed"]) == ([], ["other"])


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_page_resumes_after_a_lost_connection(serve: Any, is_restarted: bool) -> None:
    async with serve(QUICK) as site:
        async with site.dashboard() as page:
            seq = (await page.next("snapshot"))["seq"]
            page.cut()
        if not is_restarted:
            await site.run("quick")
            async with site.dashboard(log=site.kernel.log_id, after=seq) as page:
                first = await page.next()
                head = site.head
    if is_restarted:
        async with serve(QUICK) as site:
            await site.run("quick")
            async with site.dashboard(log=site.kernel.log_id, after=seq) as page:
                first = await page.next()
                head = site.head

    assert (first["t"], first["resumed"]) == ("delta", True)
    positions = [event["position"] for event in first["events"]]
    assert positions == list(range(seq + 1, first["seq"] + 1))
    assert first["seq"] <= head


async def test_a_page_cut_off_at_random_sees_every_transition_once_and_in_order(serve: Any) -> None:
    async def talks(ctx: Context) -> None:
        for number in range(5):
            ctx.progress(processed_items=number, total_items=5)
            await asyncio.sleep(0.002)

    async with serve(Job(id="talks", func=talks, overlap="allow")) as site:
        async with site.dashboard() as page:
            begin = seq = (await page.next("snapshot"))["seq"]
        working = asyncio.gather(*(site.run("talks") for _ in range(60)))
        seen: list[dict[str, Any]] = []
        while not working.done() or seq < site.head:
            async with site.dashboard(log=site.kernel.log_id, after=seq) as page:
                for _ in range(random.randint(1, 3)):
                    if seq == site.head:
                        break
                    frame = await page.next("delta")
                    seen, seq = seen + frame["events"], frame["seq"]
                    await page.say(t="ack", seq=seq)
                page.cut()
        await working
        log = await site.log()

    transitions = [event.position for event in log if event.position > begin and event.type != "progress"]
    assert [event["position"] for event in seen if event["type"] != "progress"] == transitions
    assert [event["position"] for event in seen] == sorted({event["position"] for event in seen})


async def test_a_page_that_missed_nothing_gets_an_empty_delta(serve: Any) -> None:
    async with serve(QUICK) as site:
        async with site.dashboard() as page:
            seq = (await page.next("snapshot"))["seq"]
        async with site.dashboard(log=site.kernel.log_id, after=seq) as page:
            first = await page.next()

            await site.run("quick")
            second = await page.next("delta")

    assert (first["t"], first["seq"], first["events"], first["resumed"]) == ("delta", seq, [], True)
    assert "resumed" not in second


@pytest.mark.parametrize("hello", [{"log": "another", "after": 0}, {"log": None, "after": 10**9}])
async def test_a_position_of_another_log_is_answered_with_a_snapshot(serve: Any, hello: dict[str, Any]) -> None:
    async with serve(QUICK) as site:
        hello["log"] = hello["log"] or site.kernel.log_id
        async with site.dashboard(**hello) as page:
            snapshot = await page.next()

    assert (snapshot["t"], snapshot["reason"]) == ("snapshot", "other-log")


async def test_a_page_that_was_away_for_too_long_gets_a_snapshot(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_feed, "MAX_RESUME", 5)
    async with serve(QUICK) as site:
        for _ in range(3):
            await site.run("quick")
        await site.has_told_all()
        async with site.dashboard(log=site.kernel.log_id, after=1) as page:
            snapshot = await page.next()

    assert (snapshot["t"], snapshot["reason"]) == ("snapshot", "gap")


async def test_a_position_with_pruned_successors_is_answered_with_a_snapshot(serve: Any) -> None:
    async with serve(QUICK) as site:
        await site.run("quick")
    async with serve(QUICK) as site:
        await site.store.prune(datetime.now(UTC) + timedelta(hours=1))
        async with site.dashboard(log=site.kernel.log_id, after=2) as page:
            snapshot = await page.next()

    assert (snapshot["t"], snapshot["reason"]) == ("snapshot", "gap")


async def test_at_most_three_frames_are_in_flight(serve: Any) -> None:
    async with serve(QUICK) as site, site.dashboard() as page:
        seqs = [(await page.next())["seq"]]
        for _ in range(2):
            await site.run("quick")
            seqs.append((await page.next("delta"))["seq"])
        for _ in range(5):
            await site.run("quick")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(page.ws.receive(), 0.5)
        await page.say(t="ack", seq=seqs[-1])

        events = await catch_up(page, site.head)

    assert [event["position"] for event in events] == list(range(seqs[-1] + 1, events[-1]["position"] + 1))


async def test_a_page_that_lags_gets_a_snapshot_instead_of_a_long_queue(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard_feed, "MAX_QUEUE", 20)
    async with serve(QUICK) as site, site.dashboard() as page:
        await page.next("snapshot")
        seq = 0
        for _ in range(2):
            await site.run("quick")
            seq = (await page.next("delta"))["seq"]
        for _ in range(10):
            await site.run("quick")
        await site.has_told_all()
        await page.say(t="ack", seq=seq)

        snapshot = await page.next()

        assert (snapshot["t"], snapshot["reason"]) == ("snapshot", "lag")
        assert snapshot["seq"] > seq + 20


async def test_a_page_that_acknowledges_nothing_is_disconnected(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ack_window, "PEER_TIMEOUT_S", 0.2)
    async with serve(QUICK) as site, site.dashboard() as page:
        await page.next("snapshot")
        for _ in range(2):
            await site.run("quick")
            await page.next("delta")
        await site.run("quick")

        assert await page.end() == 1013


async def test_the_log_lines_of_a_run_are_sent_as_they_are_written(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "POLL_S", 0.01)
    gate = asyncio.Event()

    async def logs() -> None:
        logging.getLogger("logs").warning("first")
        await gate.wait()
        logging.getLogger("logs").warning("second")

    async with serve(Job(id="logs", func=logs)) as site:
        run = (await site.kernel.trigger("logs")).execution
        async with site.dashboard(topics=["overview", f"log:{run.id}"]) as page:
            frames = [await page.next("log")]
            if not frames[0]["lines"]:
                frames.append(await page.next("log"))
            gate.set()
            frames.append(await page.next("log"))

    lines = [line for frame in frames for line in frame["lines"]]
    assert [(line["number"], line["text"]) for line in lines] == [(1, "first"), (2, "second")]
    assert {frame["execution_id"] for frame in frames} == {run.id}
    assert (frames[-1]["first"], frames[-1]["lines"][0]["level"]) == (2, "warning")


async def test_a_topic_with_a_number_has_only_the_lines_after_it(serve: Any) -> None:
    async def logs() -> None:
        for number in range(1, 6):
            logging.getLogger("logs").warning("line %d", number)

    async with serve(Job(id="logs", func=logs)) as site:
        run = await site.run("logs")
        async with site.dashboard(topics=["overview", f"log:{run}:3"]) as page:
            frame = await page.next("log")

    assert ([line["text"] for line in frame["lines"]], frame["first"]) == (["line 4", "line 5"], 4)


async def test_topics_can_be_changed(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "POLL_S", 0.01)

    async def logs() -> None:
        logging.getLogger("logs").warning("a line")

    async with serve(Job(id="logs", func=logs)) as site:
        run = await site.run("logs")
        async with site.dashboard() as page:
            await page.next("snapshot")
            await page.say(t="topics", topics=[f"log:{run}"])
            frame = await page.next("log")

    assert [line["text"] for line in frame["lines"]] == ["a line"]


async def test_a_ping_is_answered(serve: Any) -> None:
    async with serve() as site, site.dashboard() as page:
        await page.say(t="ping")

        pong = await page.next("pong")

    assert datetime.fromisoformat(pong["now"]).tzinfo is not None


async def test_a_silent_connection_gets_heartbeats(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "HEARTBEAT_S", 0.05)
    async with serve() as site, site.dashboard() as page, site.open("/ws/events") as reader:
        heartbeat = await page.next("heartbeat")
        other = await reader.next("heartbeat")
        head = site.head

    assert (heartbeat["seq"], heartbeat["version"]) == (head, dashboard_feed.VERSION)
    assert other == {"type": "heartbeat", "seq": head}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"t":"hello"', "cannot read"),
        ('{"t":"hullo"}', "hullo"),
        ('{"t":"ack","seq":1}', "hello"),
        ('{"t":"hello","after":-1}', "after"),
        ('{"t":"hello","topics":["log:../etc"]}', "topics"),
        ("[]", "cannot read"),
        ("[" * 5000, "cannot read"),
    ],
)
async def test_an_invalid_message_closes_the_connection_with_a_reason(serve: Any, said: str, reason: str) -> None:
    async with serve() as site, site.open("/ws/live", protocols=["gnomon.live.v1"]) as page:
        await page.ws.send_str(said)
        end = await page.ws.receive()

    assert end.data == 4400
    assert reason in end.extra


async def test_an_ack_of_a_position_never_sent_closes_the_connection(serve: Any) -> None:
    async with serve() as site, site.dashboard() as page:
        await page.next("snapshot")
        await page.say(t="ack", seq=10**9)

        assert await page.end() == 4400


async def test_pages_that_connect_together_share_one_snapshot(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "REUSE_S", 60.0)
    async with serve(QUICK) as site:
        taken: list[Any] = []
        executions = site.kernel.executions

        async def counted(query: Any) -> Any:
            taken.append(query)
            return await executions(query)

        monkeypatch.setattr(site.kernel, "executions", counted)
        seen = []
        for _ in range(3):
            async with site.dashboard() as page:
                seen.append((await page.next("snapshot"))["seq"])

        assert len(taken) == 1 + len(["scheduled", "running", "recent"]), (
            "once for each list, and the last run of the job"
        )
        await site.run("quick")
        await site.has_told_all()
        async with site.dashboard() as page:
            assert (await page.next("snapshot"))["seq"] > seen[-1], "never older than what was sent"


async def test_a_snapshot_has_the_jobs_that_matter_and_says_how_many_there_are(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_JOBS", 4)
    monkeypatch.setattr(snapshots, "MAX_UNFINISHED", 3)
    gate = asyncio.Event()

    async def waits() -> None:
        await gate.wait()

    async def fails() -> None:
        raise ValueError

    jobs = [Job(id=f"idle{number}", func=waits, paused=number == 0) for number in range(9)]
    busy = [Job(id=name, func=waits, max_instances=2, overlap="queue") for name in ("busy", "zeal")]
    due = Job(id="zz", func=waits, cron="0 0 1 1 *")
    async with serve(*jobs, *busy, Job(id="zfails", func=fails), due) as site:
        await site.run("zfails")
        for _ in range(4):
            await site.kernel.trigger("busy")
        await site.kernel.trigger("zeal")
        await site.has_told_all()
        async with site.dashboard() as page:
            snapshot = await page.next("snapshot")
            await site.kernel.pause("idle8")
            delta = await page.next("delta")
        gate.set()

    assert [job["id"] for job in snapshot["jobs"]] == ["busy", "zeal", "zfails", "zz"]
    assert snapshot["totals"] == {"jobs": 13, "paused": 1, "running": 3, "scheduled": 2}
    assert [run["status"] for run in snapshot["running"]] == ["running"] * 3, "what runs comes first"
    assert delta["totals"] == {"jobs": 13, "paused": 2}
