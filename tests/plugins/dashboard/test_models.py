"""The models on their own: event groups, tracebacks, charts, commands, the connection."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import expect

from gnomon.moments import parse_moment


def run(name: str, **more: Any) -> dict[str, Any]:
    return {
        "_id": name, "job_id": "a", "job_name": "a", "status": "success", "version": 3, "attempt": 1, "count": 1, "reason": None,
        "timestamp": "2026-11-25T12:00:00Z", "updated_at": "2026-11-25T12:00:05Z", "scheduled_time": "2026-11-25T12:00:00Z",
        "execution_time": 5.0, "cancel_requested": False, "is_manual": False, "steps": [], "error_message": None, "error_type": None,
    } | more  # fmt: skip


NOW = 1_795_608_000_000  # 2026-11-25T12:00:00Z


async def test_event_groups_merge_progress_and_mark_gaps(lab: Any) -> None:
    moments = ["00:00", "00:01", "00:02", "00:03", "00:04", "02:00", "02:01"]
    kinds = ["scheduled", "started", "progress", "progress", "progress", "progress", "succeeded"]
    events = [
        {
            "type": kind,
            "position": n + 10,
            "version": n + 1,
            "at": f"2026-11-25T12:{at}Z",
            "stream": "x",
            "job_id": "a",
            "node": "n",
        }
        for n, (kind, at) in enumerate(zip(kinds, moments, strict=True))
    ]
    folded = await lab.inside(
        "[true, false].map((isGrouped) => m.groupEvents(arg, isGrouped).map((n) => [n.event.type, n.count, n.offset, n.gap]))",
        events,
    )
    assert folded[0] == [
        ["scheduled", 1, -1, 0],
        ["started", 1, 0, 0],
        ["progress", 3, 3, 0],
        ["progress", 1, 119, 116],
        ["succeeded", 1, 120, 0],
    ]
    assert len(folded[1]) == 7
    assert await lab.inside(
        "[m.quantile([], 0.5), m.quantile([3, 1, 2], 0.5), m.quantile([1, 2], 0.95), m.median([])]"
    ) == [None, 2, 2, 0]


async def test_frames_that_repeat_those_before_them_are_folded(lab: Any) -> None:
    def frames(*names: str) -> str:
        return "".join(f'  File "tree.py", line 7, in {name}\n    {name}(node)\n' for name in names)

    text = "Traceback:\n" + frames("main") + frames("walk", "visit", "step") * 991 + "RecursionError: too deep\n"
    parts = await lab.inside("m.folded(arg)", text)

    assert [part["kind"] for part in parts] == ["text", *["frame"] * 4, "repetition", "text"]
    assert parts[5] == {"kind": "repetition", "period": 3, "times": 990}
    twice = await lab.inside("m.folded(arg)", frames("walk", "walk", "visit", "visit"))
    assert [part["kind"] for part in twice] == ["frame"] * 4


async def test_library_frames_are_folded(lab: Any) -> None:
    text = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/gnomon/runners/async_task.py", line 1, in run
    return await call()
  File "/venv/lib/python3.11/asyncio/tasks.py", line 2, in wait
  File "/srv/my_jobs.py", line 3, in sync
    read()
    ~~~~^^
ValueError: no
more of it
"""
    parts = await lab.inside("m.folded(arg)", text)
    assert [part["kind"] for part in parts] == ["text", "folded", "frame", "text"]
    assert len(parts[1]["frames"]) == 2
    assert parts[2]["text"].endswith("read()\n    ~~~~^^")
    assert parts[3]["text"] == "ValueError: no\nmore of it"


async def test_control_characters_are_removed_from_texts_of_jobs(lab: Any) -> None:
    dirty = "\x1b[1;31mred\x1b[0m\x07 \x1b]0;title\x07a\u202eb\tc\nd\r"
    assert await lab.inside("[m.clean(arg), m.clean(null)]", dirty) == ["red a‹U+202E›b\tc\nd", ""]


async def test_a_time_axis_has_as_many_ticks_as_fit(lab: Any) -> None:
    ticks = await lab.inside(f"[3600e3, 86400e3, 90 * 86400e3].map((span) => m.ticks({NOW}, {NOW} + span, 8).length)")
    assert all(3 <= count <= 14 for count in ticks)


async def test_a_time_axis_has_round_times_of_the_zone_that_is_shown(lab: Any) -> None:
    """The browser of these tests is in Shanghai: midnight there is 16:00 in UTC."""
    week = f"[m.ticks({NOW}, {NOW} + 7 * 86400e3, 8).length, ...m.ticks({NOW}, {NOW} + 7 * 86400e3, 8).map((at) => (at / 3600e3) % 24)]"
    try:
        for zone, hour in (("UTC", 0), ("local", 16)):
            await lab.inside("m.chooseZone(arg)", zone)
            assert await lab.inside(week) == [7, *[hour] * 7], zone
    finally:
        await lab.inside("m.chooseZone('local')")


async def test_a_chart_of_durations_in_a_column_of_no_width_is_empty_and_no_error(lab: Any) -> None:
    drawn = "m.durationsChart({ runs: arg, changes: [], p50: 4, p95: 6, width: 20, address: () => '/' }).outerHTML"
    runs = [run(str(n), timestamp=f"2026-11-25T12:00:0{n}Z") for n in range(3)]
    assert 'width="-' not in await lab.inside(drawn, runs)


async def test_axes_end_at_round_numbers(lab: Any) -> None:
    assert await lab.inside("[0.3, 7, 42, 70, 500, 5000].map(m.niceTop)") == pytest.approx([0.3, 8, 50, 90, 600, 5400])


async def test_a_run_is_matched_against_every_filter(lab: Any) -> None:
    one = run("1", status="failed", error_message="No such TABLE", is_manual=True)
    questions = [
        {},
        {"job_id": "b"},
        {"status": "failed,missed"},
        {"status": "success"},
        {"is_manual": "false"},
        {"q": "table"},
        {"since": "2026-11-25T12:00:00Z"},
        {"until": "2026-11-25T12:00:00Z"},
        {"since": "-999w", "until": "now"},
        {"until": "-999w"},
    ]
    assert await lab.inside("arg[1].map((query) => m.matches(arg[0], query))", [one, questions]) == [
        True,
        False,
        True,
        False,
        False,
        True,
        True,
        False,
        True,
        False,
    ]


MOMENTS = ["now", "-7d", "+2h", " 90m", "-1d 12h", "-1.5h", "-500ms", "-2w", "2026-11-28T03:14:07+08:00"]


async def test_the_page_and_the_server_read_the_same_moments(lab: Any) -> None:
    now = datetime.fromtimestamp(await lab.inside("m.now.peek()") / 1000, UTC)
    expected = [round(parse_moment(text, now, UTC).timestamp() * 1000) for text in MOMENTS]

    assert await lab.inside("arg.map(m.instant)", MOMENTS) == expected
    assert await lab.inside("arg.map((text) => m.isRolling(text))", [*MOMENTS, "7d", ""]) == [True] * 8 + [False] * 3


async def test_a_rolling_query_is_fixed_to_what_it_stands_for_now(lab: Any) -> None:
    now = await lab.inside("m.now.peek()")

    def written(at: float) -> str:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    queries = [{"since": "-1h", "q": "x"}, {"from": "-2h", "to": "-1h"}, {"since": "2026-11-28T03:14:07Z"}, {}]
    assert await lab.inside("arg.map(m.fixed)", queries) == [
        {"since": written(now - 3_600_000), "until": written(now), "q": "x"},
        {"from": written(now - 7_200_000), "to": written(now - 3_600_000)},
        {"since": "2026-11-28T03:14:07Z"},
        {},
    ]


async def test_policies_are_shown_in_a_line_and_ineffective_ones_omitted(lab: Any) -> None:
    told = await lab.inside(
        "arg.map(m.policy)",
        [
            None,
            "skip",
            {"attempts": 1},
            {"attempts": 3, "delay": "30s", "max_delay": None},
            [],
            ["a", "b"],
            {},
            {"limit": {"x": 1}},
        ],
    )
    assert told == [None, "skip", None, "attempts 3, delay 30s", None, "a, b", None, 'limit {"x":1}']


async def test_the_envelope_of_a_response_is_removed(open_page: Any, serve: Any) -> None:
    served = await serve(envelope=True)
    window = await open_page(served.url, "/", allowed=("404",))
    assert await window.inside("(await m.get('/scheduler/stats')).total_jobs") == 0
    problem = await window.inside("await m.get('/scheduler/jobs/nobody').catch((e) => [e.status, e.message])")
    assert problem[0] == 404
    assert "nobody" in problem[1]


async def test_a_page_works_under_a_base_path(open_page: Any, serve: Any) -> None:
    served = await serve(base_path="/api")
    window = await open_page(served.url, "/")
    await expect(window.page.locator("h1")).to_have_text("No jobs yet")
    await window.page.get_by_role("link", name="Runs").click()
    await window.page.wait_for_url("**/api/runs")


# The connection against a fake socket: situations that a real server rarely produces.
FAKE_SOCKET = """await (async () => {
    const sockets = [], said = [];
    const real = window.WebSocket;
    class FakeSocket {
        static OPEN = 1; static CONNECTING = 0;
        readyState = 0; sent = [];
        constructor() { sockets.push(this) }
        send(text) { this.sent.push(JSON.parse(text)) }
        close() { this.readyState = 3 }
        open() { this.readyState = 1; this.onopen() }
        frame(frame) { this.onmessage({ data: JSON.stringify(frame) }) }
        end(code) { this.readyState = 3; return this.onclose({ code }) }
    }
    window.WebSocket = FakeSocket;
    const { link } = m;
    const listeners = { snapshot: (f) => said.push(['snapshot', f.seq]), delta: (f) => said.push(['delta', f.seq, f.events.map((e) => e.position)]), log: () => said.push(['log']), anyFrame: () => {}, probe: async () => (said.push(['probe']), arg.found ?? 'away') };
    link.value = 'connecting';
    const live = new m.LiveConnection(`ws://${location.host}/nowhere`, listeners);
    try { return await (async () => { %s })() } finally { window.WebSocket = real; clearTimeout(live.timer); live.disconnect(); live.open = live.retry = () => {} }
})()"""


async def with_fake_socket(lab: Any, code: str, **arg: Any) -> Any:
    return await lab.inside(FAKE_SOCKET % code, arg)


async def test_a_resumed_connection_requests_later_events_and_drops_duplicates(lab: Any) -> None:
    told = await with_fake_socket(lab, """
        live.open(); sockets[0].open();
        sockets[0].frame({ t: 'snapshot', log: 'L', seq: 10 });
        sockets[0].frame({ t: 'delta', seq: 12, events: [{ position: 10 }, { position: 11 }, { position: 12 }] });
        sockets[0].frame({ t: 'log' }); sockets[0].frame({ t: 'heartbeat' }); sockets[0].frame({ t: 'of the future' });
        await sockets[0].end(1012);
        live.open(); sockets[1].open();
        return { said, sent: [sockets[0].sent, sockets[1].sent], link: link.peek() };""")  # fmt: skip
    assert told["said"] == [["snapshot", 10], ["delta", 12, [11, 12]], ["log"]]
    assert told["sent"][0] == [
        {"t": "hello", "log": None, "after": None, "topics": ["overview"]},
        {"t": "ack", "seq": 10},
        {"t": "ack", "seq": 12},
    ]
    assert told["sent"][1] == [{"t": "hello", "log": "L", "after": 12, "topics": ["overview"]}]
    assert told["link"] == "lost"


async def test_an_ended_session_is_not_retried(lab: Any) -> None:
    assert await with_fake_socket(
        lab, "live.open(); sockets[0].open(); await sockets[0].end(4401); return [link.peek(), sockets.length]"
    ) == ["refused", 1]


async def test_a_failed_handshake_is_retried_unless_the_session_was_rejected(lab: Any) -> None:
    code = "live.open(); await sockets[0].end(1006); return [link.peek(), live.timer > 0]"
    assert await with_fake_socket(lab, code) == ["lost", True]
    assert await with_fake_socket(lab, code, found="there") == ["lost", True]
    assert await with_fake_socket(lab, code, found="refused") == ["refused", False]


async def test_a_server_is_probed_before_a_socket_is_opened(lab: Any) -> None:
    code = "link.value = 'lost'; await live.retry(); return [link.peek(), sockets.length, live.timer > 0]"
    assert await with_fake_socket(lab, code) == ["lost", 0, True]
    assert await with_fake_socket(lab, code, found="there") == ["lost", 1, False]
    assert await with_fake_socket(lab, code, found="refused") == ["refused", 0, False]


async def test_a_visible_page_reconnects_within_two_seconds_with_jitter(lab: Any) -> None:
    seen, hidden, *rest = await lab.inside(
        "[[false, 0], [true, 0], [false, 2], [false, 20]].map(([a, b]) => Array.from({ length: 500 }, () => m.retryDelay(a, b)))",
    )
    assert 700 <= min(seen) < max(seen) <= 1300
    tenths = [sum(at <= wait < at + 60 for wait in seen) for at in range(700, 1300, 60)]
    assert max(tenths) < 100, "a hundred pages reconnect spread over more than half a second"
    assert min(hidden) >= 7000
    assert [round(max(waits) / 1300) for waits in rest] == [4, 10], "rejected, it backs off up to a limit"


async def test_a_page_that_becomes_visible_reconnects_at_once_and_pings_an_open_connection(lab: Any) -> None:
    told = await with_fake_socket(lab, """
        live.open(); sockets[0].open(); sockets[0].frame({ t: 'snapshot', log: 'L', seq: 1 });
        const shown = () => new PageTransitionEvent('pageshow', { persisted: true });
        dispatchEvent(shown());
        live.lastFrameAt -= 5_100; live.checkSilence();
        const given = [link.peek(), sockets.length, sockets[0].sent.at(-1)];
        await new Promise((done) => setTimeout(done));
        for (const [from, event] of [[window, shown()], [window, new Event('online')], [document, new Event('visibilitychange')]]) {
            link.value = 'lost'; live.disconnect(); said.length = 0;
            from.dispatchEvent(event);
            given.push(said.length);
            await new Promise((done) => setTimeout(done));
        }
        return given;""", found="there")  # fmt: skip
    assert told == ["lost", 1, {"t": "ping"}, 1, 1, 1]


async def test_a_silent_connection_is_dropped(lab: Any) -> None:
    told = await with_fake_socket(lab, """
        live.open(); sockets[0].open(); sockets[0].frame({ t: 'snapshot', log: 'L', seq: 1 });
        live.checkSilence(); const before = link.peek();
        live.lastFrameAt -= 26_000; live.checkSilence();
        await new Promise((done) => setTimeout(done));
        return [before, link.peek(), sockets.length, sockets[0].readyState];""", found="there")  # fmt: skip
    assert told == ["live", "lost", 2, 3]


async def test_topics_are_sent_once_and_withdrawn_with_their_last_view(lab: Any) -> None:
    told = await with_fake_socket(lab, """
        live.open(); sockets[0].open();
        const [a, b] = [live.subscribe('run:1'), live.subscribe('run:1')]; a(); b();
        return sockets[0].sent.slice(1).map((frame) => frame.topics);""")  # fmt: skip
    assert told == [["overview", "run:1"], ["overview", "run:1"], ["overview", "run:1"], ["overview"]]


async def test_an_unconfirmed_command_is_reported(open_page: Any, day: str) -> None:
    window = await open_page(day, "/jobs")
    await window.page.clock.install()
    await window.page.route("**/resume", lambda route: route.fulfill(json={}))

    await window.page.get_by_role("button", name="Resume: Old files").click()
    told = window.page.locator(".toasts", has_text="has not confirmed it yet")

    async with asyncio.timeout(60):  # its timer starts with the response
        while not await told.count():
            await window.page.clock.run_for(1000)


async def test_the_store_keeps_the_newest_runs_and_drops_hidden_ones(lab: Any) -> None:
    told = await lab.inside("""(() => {
        const event = (id, version, type, more) => ({ type, stream: id, version, position: 1e6, at: '2026-11-25T12:29:00Z', job_id: 'news', node: 'a', ...more });
        const batch = (events) => m.applyDelta({ seq: 1e6, now: '', events });
        batch(Array.from({ length: 450 }, (_, n) => event(`r${n}`, 1, 'missed', { scheduled_time: '2026-11-25T12:29:00Z', reason: 'late' })));
        const [kept, first] = [m.finishedIds.peek().length, m.finishedIds.peek()[0]];
        batch([event('r449', 2, 'hidden'), event('job:news', 9, 'job_paused'), event('strange', 5, 'progress')]);
        m.applyDelta({ seq: 1e6, now: '', events: [], jobs: [{ id: 'new', running: [], display_name: 'New' }], removed: ['news'], progress: [] });
        return { kept, first, next: m.finishedIds.peek()[0], known: m.runs.has('r0'), ids: m.jobIds.peek(), name: m.jobName('new') };
    })()""")  # fmt: skip
    assert told["kept"] == 400
    assert (told["first"], told["next"], told["known"]) == ("r449", "r448", False)
    assert "new" in told["ids"]
    assert "news" not in told["ids"]
    assert told["name"] == "New"


async def test_runs_that_the_page_does_not_hold_are_counted(open_page: Any, day: str) -> None:
    window = await open_page(day, "/")
    told = await window.inside("""(() => {
        const jobs = m.jobIds.peek().map((id) => m.jobOf(id));
        const totals = { jobs: jobs.length, paused: 1, running: 5, scheduled: 3 };
        m.loadSnapshot({ log: '', seq: 0, version: '', now: '', jobs, totals, running: [], recent: [], health: {} });
        const counts = () => [m.runningCount.value, m.waitingCount.value];
        const seen = [counts()];
        const at = '2026-11-25T12:29:00Z';
        for (const [type, more] of [['started', {}], ['succeeded', { execution_time: 1 }], ['cancelled', {}], ['progress', {}]]) {
            m.applyDelta({ seq: 1, now: '', events: [{ type, stream: `x${type}`, version: 4, position: 1, at, job_id: 'news', ...more }] });
            seen.push(counts());
        }
        return seen;
    })()""")
    assert told == [[5, 3], [6, 2], [5, 2], [5, 1], [5, 1]]
    await expect(window.page.locator(".counter.running .figure")).to_have_text("5")
