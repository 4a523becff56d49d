"""`/ws/live`: a picture of everything, what has happened since, and only as fast as the page can follow."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from gnomon import Context, Job, StoreUnavailableError
from gnomon.conversion import Secret
from gnomon_web.config import Token
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


async def test_a_page_gets_a_picture_and_then_every_event_after_it(serve: Any) -> None:
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


async def test_what_was_running_or_waiting_is_in_the_picture(serve: Any) -> None:
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


async def test_a_delta_has_the_jobs_that_look_different_by_it(serve: Any) -> None:
    async with serve(QUICK, Job(id="other", func=quick)) as site, site.dashboard() as page:
        await page.next("snapshot")
        await site.kernel.pause("quick", actor="anna")
        delta = await page.next("delta")
        await site.kernel.remove_job("other")
        removal = await page.next("delta")

    assert [(job["id"], job["paused"]) for job in delta["jobs"]] == [("quick", True)]
    assert (removal["jobs"], removal["removed"]) == ([], ["other"])


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_page_that_was_cut_off_goes_on_where_it_was(serve: Any, is_restarted: bool) -> None:
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


async def test_a_page_that_is_cut_off_at_random_sees_every_transition_once_and_in_order(serve: Any) -> None:
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


async def test_a_page_that_missed_nothing_is_told_so(serve: Any) -> None:
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
async def test_a_position_of_another_log_is_answered_with_a_picture(serve: Any, hello: dict[str, Any]) -> None:
    async with serve(QUICK) as site:
        hello["log"] = hello["log"] or site.kernel.log_id
        async with site.dashboard(**hello) as page:
            snapshot = await page.next()

    assert (snapshot["t"], snapshot["reason"]) == ("snapshot", "other-log")


async def test_a_page_that_was_away_for_too_long_gets_a_picture(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_feed, "MAX_RESUME", 5)
    async with serve(QUICK) as site:
        for _ in range(3):
            await site.run("quick")
        await site.has_told_all()
        async with site.dashboard(log=site.kernel.log_id, after=1) as page:
            snapshot = await page.next()

    assert (snapshot["t"], snapshot["reason"]) == ("snapshot", "gap")


async def test_a_position_after_which_events_were_pruned_is_answered_with_a_picture(serve: Any) -> None:
    async with serve(QUICK) as site:
        await site.run("quick")
    async with serve(QUICK) as site:
        await site.store.prune(datetime.now(UTC) + timedelta(hours=1))
        async with site.dashboard(log=site.kernel.log_id, after=2) as page:
            snapshot = await page.next()

    assert (snapshot["t"], snapshot["reason"]) == ("snapshot", "gap")


async def test_no_more_than_three_frames_are_under_way(serve: Any) -> None:
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


async def test_a_page_that_cannot_follow_gets_a_picture_instead_of_a_long_queue(
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


async def test_a_page_that_acknowledges_nothing_is_given_up(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ack_window, "PEER_TIMEOUT_S", 0.2)
    async with serve(QUICK) as site, site.dashboard() as page:
        await page.next("snapshot")
        for _ in range(2):
            await site.run("quick")
            await page.next("delta")
        await site.run("quick")

        assert await page.end() == 1013


async def test_the_lines_of_a_run_are_sent_as_they_come(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_silent_server_says_that_it_lives(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "HEARTBEAT_S", 0.05)
    async with serve() as site, site.dashboard() as page, site.open("/ws/events") as reader:
        heartbeat = await page.next("heartbeat")
        other = await reader.next("heartbeat")

    assert (heartbeat["seq"], heartbeat["version"]) == (0, dashboard_feed.VERSION)
    assert other == {"type": "heartbeat", "seq": 0}


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
async def test_a_message_that_cannot_be_read_ends_the_connection_and_says_why(
    serve: Any, said: str, reason: str
) -> None:
    async with serve() as site, site.open("/ws/live", protocols=["gnomon.live.v1"]) as page:
        await page.ws.send_str(said)
        end = await page.ws.receive()

    assert end.data == 4400
    assert reason in end.extra


async def test_an_ack_of_what_was_never_sent_ends_the_connection(serve: Any) -> None:
    async with serve() as site, site.dashboard() as page:
        await page.next("snapshot")
        await page.say(t="ack", seq=10**9)

        assert await page.end() == 4400


async def test_pages_that_come_at_the_same_time_share_one_picture(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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

        assert len(taken) == 1 + len(["running", "recent"]), "once for each list, and for the job's last run"
        await site.run("quick")
        await site.has_told_all()
        async with site.dashboard() as page:
            assert (await page.next("snapshot"))["seq"] > seen[-1], "never older than what has been told"


async def test_a_client_without_the_subprotocol_is_told(serve: Any) -> None:
    async with serve() as site, site.open("/ws/live") as page:
        end = await page.ws.receive()

    assert (end.data, end.extra) == (4400, "expected the subprotocol gnomon.live.v1")


async def test_a_client_that_says_nothing_is_not_kept(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_feed, "HELLO_LIMIT_S", 0.05)
    async with serve() as site, site.open("/ws/live", protocols=["gnomon.live.v1"]) as page:
        assert await page.end() == 4400


async def test_who_has_no_token_gets_no_connection(serve: Any) -> None:
    token = Token("anna", "viewer", Secret("0123456789abcdef"))
    async with serve(QUICK, tokens=[token]) as site:
        async with site.dashboard() as page:
            snapshot = await page.next()
        for path in ("/ws/live", "/ws/events", "/ws/progress/quick"):
            async with site.client.get(site.web.url + path, headers={"Authorization": "Bearer wrong"}) as answer:
                assert answer.status == 401

    assert (snapshot["role"], snapshot["actor"]) == ("viewer", "anna")


async def test_a_page_of_another_site_gets_no_connection(serve: Any) -> None:
    headers = {"Origin": "https://evil.example", "Upgrade": "websocket", "Connection": "Upgrade"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    async with serve() as site, site.client.get(site.web.url + "/ws/live", headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("path", ["/ws/live", "/ws/events", "/ws/progress/quick"])
async def test_a_connection_ends_with_the_login_that_opened_it(
    serve: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(websocket, "HEARTBEAT_S", 0.05)
    token = Token("anna", "viewer", Secret("0123456789abcdef"))
    async with (
        serve(QUICK, tokens=[token]) as site,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": site.web.url}) as browser,
    ):
        await browser.post(site.web.url + "/login", json={"token": "0123456789abcdef"})
        async with browser.ws_connect(site.web.url + path, protocols=["gnomon.live.v1"]) as ws:
            await browser.post(site.web.url + "/logout")

            while (await asyncio.wait_for(ws.receive(), 60)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert ws.close_code == 4401


async def test_a_store_that_is_away_ends_what_needs_it_and_says_so(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: object, **more: object) -> None:
        raise StoreUnavailableError("the disk is full")

    async with serve(QUICK) as site, site.dashboard() as page:
        await page.next("snapshot")
        monkeypatch.setattr(site.kernel, "executions", away)
        monkeypatch.setattr(snapshots, "REUSE_S", -1.0)
        async with site.dashboard() as other:
            end = await other.ws.receive()
        await site.kernel.pause("quick")
        delta = await page.next("delta")

    assert (end.data, end.extra) == (1013, "cannot read the log now: the disk is full")
    assert [event["type"] for event in delta["events"]] == ["job_paused"], "the others are told all the same"


async def test_a_mistake_of_the_server_ends_one_connection_and_is_logged(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard_feed, "VERSION", object())
    async with serve(QUICK) as site:
        with capture_logs() as logs:
            async with site.dashboard() as page:
                code = await page.end()
        async with site.open("/ws/events?after=0") as reader:
            assert (await reader.next())["type"] == "ready"

    assert code == 1011
    assert [line["path"] for line in logs if line["event"] == "websocket failed"] == ["/ws/live"]
