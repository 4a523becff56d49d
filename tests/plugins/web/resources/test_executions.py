from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from typing import Any

import pytest

from gnomon import Context, Duration, Job

CONTRACT = {
    "_id", "job_id", "job_name", "status", "scheduled_time", "timestamp", "execution_time", "error_message",
    "error_type", "traceback", "is_manual", "cancel_requested", "updated_at", "progress", "progress_message",
    "current_item", "processed_items", "total_items", "steps", "return_value", "reason", "actor", "kwargs", "force",
    "attempt", "retry_of", "node", "version",
}  # fmt: skip


async def tick(x: int = 1) -> int:
    return x


async def breaks() -> None:
    raise ValueError("no such table: Prices")


async def waits() -> None:
    await asyncio.Event().wait()


async def run(ask: Any, job_id: str, **kwargs: Any) -> str:
    triggered = await ask.kernel.trigger(job_id, kwargs=kwargs)
    return str((await ask.kernel.wait(triggered.execution.id)).id)


async def ids(ask: Any, query: str) -> list[str]:
    return [item["_id"] for item in (await ask("GET", f"/scheduler/executions?{query}")).json["items"]]


async def test_a_record_has_every_field_of_the_contract(serve: Any) -> None:
    async def works(ctx: Context) -> dict[str, int]:
        ctx.step("fetch")
        ctx.progress(50, "half", current_item="b", processed_items=1, total_items=2)
        return {"rows": 2}

    async with serve(works) as ask:
        execution_id = await run(ask, "works")
        record = (await ask("GET", f"/scheduler/executions/{execution_id}")).json

    assert record.keys() >= CONTRACT
    assert (record["_id"], record["status"], record["return_value"]) == (execution_id, "success", {"rows": 2})
    assert (record["progress"], record["progress_message"]) == (100.0, "half")
    assert (record["current_item"], record["processed_items"], record["total_items"]) == ("b", 1, 2)
    assert [(step["name"], step["status"]) for step in record["steps"]] == [("fetch", "completed")]
    assert [event["type"] for event in record["events"]][:2] == ["scheduled", "started"]
    assert record["events"][-1]["type"] == "succeeded"


async def test_a_failed_record_has_the_error(serve: Any) -> None:
    async with serve(breaks) as ask:
        execution_id = await run(ask, "breaks")
        record = (await ask("GET", f"/scheduler/executions/{execution_id}")).json

    assert (record["status"], record["error_type"]) == ("failed", "ValueError")
    assert record["error_message"] == "no such table: Prices"
    assert "raise ValueError" in record["traceback"]


async def test_both_paths_of_the_list_give_the_same_answer(serve: Any) -> None:
    async with serve(tick) as ask:
        await run(ask, "tick")
        answers = [await ask("GET", path) for path in ("/scheduler/logs", "/scheduler/executions")]

    assert answers[0].json == answers[1].json
    assert answers[0].json["total"] == 1


async def test_lists_are_newest_first_and_paged_by_offset_and_by_cursor(serve: Any, gnomon_clock: Any) -> None:
    async with serve(tick) as ask:
        made = []
        for _ in range(5):
            made.append(await run(ask, "tick"))
            await gnomon_clock.advance(timedelta(seconds=1))
        whole = (await ask("GET", "/scheduler/executions")).json
        by_offset = [await ids(ask, f"limit=2&offset={offset}") for offset in (0, 2, 4)]
        by_cursor, query = [], "limit=2"
        while query:
            page = (await ask("GET", f"/scheduler/executions?{query}")).json
            by_cursor.append([item["_id"] for item in page["items"]])
            query = page["next"] and f"limit=2&cursor={page['next']}"

    newest_first = made[::-1]
    assert [item["_id"] for item in whole["items"]] == newest_first
    assert (whole["total"], whole["limit"], whole["offset"], whole["next"]) == (5, 50, 0, None)
    assert by_offset == by_cursor == [newest_first[:2], newest_first[2:4], newest_first[4:]]


async def test_filters_combine_and_the_total_is_exact(serve: Any, gnomon_clock: Any) -> None:
    hourly = Job(id="hourly", func=tick, every=Duration(hours=1))
    async with serve(hourly, breaks) as ask:
        await gnomon_clock.advance(timedelta(hours=2))
        middle = gnomon_clock.now().isoformat().replace("+00:00", "Z")
        await gnomon_clock.advance(timedelta(minutes=30))
        failed = await run(ask, "breaks")
        by_hand = await run(ask, "hourly")

        async def total(query: str) -> int:
            page = (await ask("GET", f"/scheduler/executions?limit=1&{query}")).json
            assert len(page["items"]) == min(page["total"], 1)
            return int(page["total"])

        totals = {
            query: await total(query)
            for query in (
                "job_id=hourly",
                "status=failed",
                "status=failed,success",
                "is_manual=false",
                "job_id=hourly&is_manual=true",
                f"since={middle}&status=success&is_manual=true",
                f"until={middle}",
                "q=TABLE",
                "q=TABLE&job_id=hourly",
                "job_id=nobody",
            )
        }
        manual = await ids(ask, "is_manual=true")
        of_job = (await ask("GET", "/scheduler/jobs/hourly/executions?is_manual=true")).json

    assert list(totals.values()) == [3, 1, 4, 2, 1, 1, 1, 1, 0, 0]
    assert set(manual) == {failed, by_hand}
    assert [item["_id"] for item in of_job["items"]] == [by_hand]


async def test_a_rolling_period_moves_on_with_the_time(serve: Any, gnomon_clock: Any) -> None:
    rolling = "since=-90m&until=now"
    async with serve(Job(id="hourly", func=tick, every=Duration(hours=1))) as ask:
        await gnomon_clock.advance(timedelta(hours=3, minutes=1))
        before = await ids(ask, rolling)
        await gnomon_clock.advance(timedelta(hours=1))
        after = await ids(ask, rolling)
        everything = await ids(ask, "since=-10h&until=+1h")

    assert len(everything) == 4
    assert (before, after) == (everything[1:3], everything[:2])


async def test_the_executions_of_a_job_that_was_removed_can_still_be_listed(serve: Any) -> None:
    async with serve(tick, waits) as ask:
        execution_id = await run(ask, "tick")
        await ask.kernel.apply_jobs([Job(id="waits", func=waits)])
        page = (await ask("GET", "/scheduler/jobs/tick/executions")).json

    assert [item["_id"] for item in page["items"]] == [execution_id]


@pytest.mark.parametrize("what", ["", "/events", "/log"])
@pytest.mark.parametrize("execution_id", ["0" * 24, "nope", "%00", "a" * 500, "%F0%9F%92%A9"])
async def test_an_unknown_execution_is_not_found(serve: Any, what: str, execution_id: str) -> None:
    async with serve(tick) as ask:
        answer = await ask("GET", f"/scheduler/executions/{execution_id}{what}")

    assert (answer.status, answer.culprits) == (404, [("path", "execution_id")])


async def test_the_events_of_a_run_are_those_of_the_log(serve: Any, gnomon_events: Any) -> None:
    async with serve(tick) as ask:
        execution_id = await run(ask, "tick")
        told = (await ask("GET", f"/scheduler/executions/{execution_id}/events")).json

    of_run = [event for event in gnomon_events if event.stream == execution_id]
    assert [(event["type"], event["position"]) for event in told] == [(e.type, e.position) for e in of_run]


async def test_log_lines_come_in_pages(serve: Any) -> None:
    async def talks() -> None:
        for number in range(5):
            logging.getLogger("talks").warning("line %s", number)

    async with serve(talks) as ask:
        execution_id = await run(ask, "talks")
        path = f"/scheduler/executions/{execution_id}/log"
        first = (await ask("GET", f"{path}?limit=3")).json
        rest = (await ask("GET", f"{path}?limit=3&after={first['next']}")).json

    assert [line["text"] for line in first["items"]] == ["line 0", "line 1", "line 2"]
    assert [line["text"] for line in rest["items"]] == ["line 3", "line 4"]
    assert rest["next"] is None


async def test_a_log_is_searched_and_counted_over_all_that_is_kept(serve: Any) -> None:
    async def talks() -> None:
        log = logging.getLogger("talks")
        for number in range(2_500):  # the newest 2,000 are kept
            (log.error if number % 250 == 0 else log.warning)("line %d of the Report", number)
        log.critical("the end")

    async with serve(talks) as ask:
        path = f"/scheduler/executions/{await run(ask, 'talks')}/log"
        plain = (await ask("GET", path)).json
        told = (await ask("GET", f"{path}?summary=true&newest=true&limit=3")).json
        errors = (await ask("GET", f"{path}?summary=true&level=error&limit=1000")).json
        found = (await ask("GET", f"{path}?summary=true&q=LINE%201000%20of&limit=1")).json
        none = (await ask("GET", f"{path}?level=error&q=nothing")).json
        earlier = (await ask("GET", f"{path}?newest=true&limit=2&before=2000")).json
        pages = [(await ask("GET", f"{path}?level=error&limit=5")).json]
        pages.append((await ask("GET", f"{path}?level=error&limit=5&after={pages[0]['next']}")).json)
        wrong = await ask("GET", f"{path}?level=loud")

    assert plain["summary"] is None
    kept = {"first": 502, "last": 2501, "total": 2000, "levels": {"debug": 0, "info": 0, "warning": 1992, "error": 8}}
    assert told["summary"] == {**kept, "matching": 2000}
    assert [line["number"] for line in told["items"]] == [2499, 2500, 2501]
    assert errors["summary"] == {**kept, "matching": 8}
    assert [line["number"] for line in errors["items"]] == [751, 1001, 1251, 1501, 1751, 2001, 2251, 2501]
    assert [line["number"] for line in found["items"]] == [1001]
    assert found["summary"]["matching"] == 1
    assert (none["items"], none["next"], none["summary"]) == ([], None, None)
    assert [line["number"] for line in earlier["items"]] == [1998, 1999]
    assert [line["number"] for page in pages for line in page["items"]] == [line["number"] for line in errors["items"]]
    assert wrong.culprits == [("query", "level")]


# --- acts ---


async def test_a_running_body_is_cancelled(serve: Any) -> None:
    async with serve(waits, guarded=True) as ask:
        execution_id = (await ask("POST", "/scheduler/jobs/waits/trigger", as_="operator")).json["_id"]
        path = f"/scheduler/executions/{execution_id}/cancel?reason=too%20long"
        answer = await ask("POST", path, as_="operator")
        ended = await ask.kernel.wait(execution_id)

    assert answer.status == 202
    assert answer.json["cancel_requested"] is True
    assert (ended.status, ended.cancelled_by) == ("cancelled", "operator")


async def test_a_finished_run_can_be_neither_cancelled_nor_marked_failed(serve: Any) -> None:
    async with serve(tick) as ask:
        execution_id = await run(ask, "tick")
        answers = [
            await ask("POST", f"/scheduler/executions/{execution_id}/{what}") for what in ("cancel", "mark-failed")
        ]
        record = (await ask("GET", f"/scheduler/executions/{execution_id}")).json

    assert [answer.status for answer in answers] == [409, 409]
    assert [answer.culprits for answer in answers] == [[("path", "execution_id")]] * 2
    assert "has already ended (success)" in answers[0].json["detail"]
    assert record["status"] == "success"


async def test_actions_on_an_unknown_execution_are_404(serve: Any) -> None:
    acts = ("cancel", "mark-failed", "sample")
    async with serve(tick) as ask:
        answers = [await ask("POST", f"/scheduler/executions/{'0' * 24}/{what}") for what in acts]

    assert [answer.status for answer in answers] == [404] * 3


async def test_an_operator_looks_into_a_running_body(serve: Any) -> None:
    async with serve(waits) as ask:
        execution_id = (await ask.kernel.trigger("waits")).execution.id
        path = f"/scheduler/executions/{execution_id}/sample"
        found = await ask("POST", path, as_="operator")
        await ask.kernel.cancel(execution_id)
        await ask.kernel.wait(execution_id)
        over = await ask("POST", path, as_="operator")

    (stack,) = found.json["stacks"]
    assert [frame["function"] for frame in stack["frames"]] == ["waits", "Event.wait"]
    assert stack["frames"][0]["source"] == "await asyncio.Event().wait()"
    assert (found.json["runner"], found.json["is_shared"], found.json["problem"]) == ("async", True, None)
    assert over.status == 409
    assert "has already ended (cancelled)" in over.json["detail"]


async def test_an_admin_ends_a_run_that_ignores_cancellation(serve: Any) -> None:
    gate = threading.Event()

    def deaf() -> None:
        gate.wait()

    async with serve(deaf, guarded=True) as ask:
        execution_id = (await ask("POST", "/scheduler/jobs/deaf/trigger", as_="admin")).json["_id"]
        path = f"/scheduler/executions/{execution_id}/mark-failed?reason=the%20host%20is%20gone"
        answer = await ask("POST", path, as_="admin")
        again = await ask("POST", path, as_="admin")
        gate.set()

    assert (answer.status, answer.json["status"]) == (200, "failed")
    assert (answer.json["reason"], answer.json["error_message"]) == ("marked", "the host is gone")
    assert again.status == 409


@pytest.mark.parametrize("force", [False, True])
async def test_code_that_outlives_its_run_keeps_the_slot_unless_it_is_released(serve: Any, force: bool) -> None:
    gate = threading.Event()

    def deaf() -> None:
        gate.wait(60)

    async with serve(deaf) as ask:
        execution_id = (await ask("POST", "/scheduler/jobs/deaf/trigger")).json["_id"]
        await ask("POST", f"/scheduler/executions/{execution_id}/mark-failed?force={str(force).lower()}")
        job = (await ask("GET", "/scheduler/jobs/deaf")).json
        gate.set()

    assert job["running"] == []
    assert job["lingering"] == ([] if force else [execution_id])


async def test_an_admin_hides_a_record_from_the_lists_and_it_stays_in_the_log_and_in_statistics(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        execution_id = await run(ask, "tick")
        path = f"/scheduler/executions/{execution_id}"
        answers = [await ask("DELETE", path, as_="admin") for _ in range(2)]
        listed = (await ask("GET", "/scheduler/executions", as_="viewer")).json
        found = (await ask("GET", path, as_="viewer")).json
        job = (await ask("GET", "/scheduler/jobs/tick", as_="viewer")).json
        counted = (await ask("GET", "/scheduler/jobs/tick/execution-stats", as_="viewer")).json
        today = (await ask("GET", "/scheduler/stats/today", as_="viewer")).json

    assert [(answer.status, answer.json["hidden"]) for answer in answers] == [(200, True)] * 2
    assert (listed["items"], listed["total"]) == ([], 0)
    assert (found["_id"], found["events"][-1]["type"]) == (execution_id, "hidden")
    assert job["last_execution"] is None
    assert (counted["success"], counted["last_execution"]["id"]) == (1, execution_id)
    assert job["statistics"]["success"] == today["success"] == 1


async def test_a_running_record_cannot_be_hidden(serve: Any) -> None:
    async with serve(waits) as ask:
        execution_id = (await ask("POST", "/scheduler/jobs/waits/trigger")).json["_id"]
        running = await ask("DELETE", f"/scheduler/executions/{execution_id}")
        unknown = await ask("DELETE", f"/scheduler/executions/{'0' * 24}")

    assert (running.status, running.culprits) == (409, [("path", "execution_id")])
    assert (unknown.status, unknown.culprits) == (404, [("path", "execution_id")])


async def test_steps_that_are_not_reached_yet_say_so_in_records_and_frames(serve: Any) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def sync(ctx: Context) -> None:
        ctx.step("fetch")
        entered.set()
        await go_on.wait()

    async with serve(Job(id="sync", func=sync, steps=["fetch", "check"])) as ask:
        execution_id = (await ask.kernel.trigger("sync")).execution.id
        await entered.wait()
        record = (await ask("GET", f"/scheduler/executions/{execution_id}")).json
        async with ask.client.ws_connect(f"{ask.web.url}/ws/progress/{execution_id}") as socket:
            frame = await socket.receive_json()
        go_on.set()
        await ask.kernel.wait(execution_id)

    for shown in (record, frame):
        assert [(step["name"], step["status"]) for step in shown["steps"]] == [
            ("fetch", "current"),
            ("check", "pending"),
        ]


async def test_lists_filter_by_labels_of_triggers(serve: Any) -> None:
    async with serve(Job(id="tick", func=tick, labels={"team": "data"})) as ask:
        body = {"job_id": "tick", "labels": {"tenant": "7"}}
        made = (await ask("POST", "/scheduler/trigger", json=body)).json
        await ask.kernel.wait(made["_id"])
        other = await run(ask, "tick")

        assert made["labels"] == {"team": "data", "tenant": "7"}
        assert await ids(ask, "label=tenant:7") == [made["_id"]]
        assert await ids(ask, "label=team:data,tenant:7") == [made["_id"]]
        assert sorted(await ids(ask, "label=team:data")) == sorted([made["_id"], other])
        assert await ids(ask, "label=tenant:8") == []
        refused = await ask("GET", "/scheduler/executions?label=tenant")
        assert refused.status == 400
        assert 'expected a label such as "tenant:7"' in str(refused.json)


async def test_a_call_for_many_executions_is_not_taken_for_one(serve: Any) -> None:
    async with serve(tick) as ask:
        answers = [await ask(method, "/scheduler/executions/cancel?reason=x") for method in ("GET", "DELETE")]
        unknown = await ask("GET", "/scheduler/executions/cancelled")

    assert [answer.status for answer in answers] == [405, 405]
    assert unknown.status == 404
    assert unknown.culprits == [("path", "execution_id")]
