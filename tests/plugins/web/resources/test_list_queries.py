"""Queries in one text, orders and suggestions of the lists of runs and jobs."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon import Duration, Job


async def works(rows: int = 1) -> int:
    return rows


async def breaks() -> None:
    raise ValueError("no answer from shard 7")


JOBS = [
    Job(id="etl.daily", func=works, tags=["etl", "big, slow"], name="Daily import"),
    Job(id="etl.hourly", func=breaks, tags=["etl"], every=Duration(hours=1)),
    Job(id="report", func=works, paused=True, every=Duration(hours=1)),
]


async def run(ask: Any, job_id: str, actor: str, **more: Any) -> str:
    await ask.kernel.clock.advance(1)
    triggered = await ask.kernel.trigger(job_id, actor=actor, resume=False, **more)
    return str((await ask.kernel.wait(triggered.execution.id)).id)


async def found(ask: Any, path: str, **query: str) -> list[str]:
    answer = await ask("GET", path, params=query)
    assert answer.status == 200, answer.body
    items = answer.json if isinstance(answer.json, list) else answer.json["items"]
    return [item.get("_id") or item["id"] for item in items]


async def test_a_query_asks_for_runs_by_tag_status_actor_label_and_text(serve: Any) -> None:
    async with serve(*JOBS) as ask:
        one = await run(ask, "etl.daily", "otto", labels={"tenant": "7"})
        two = await run(ask, "etl.hourly", "otto")
        three = await run(ask, "report", "ann", kwargs={"rows": 3})
        runs = "/scheduler/executions"

        assert await found(ask, runs, query="tag:etl by:otto") == [two, one]
        assert await found(ask, runs, query="by:ann,otto status:success") == [three, one]
        assert await found(ask, runs, query="label:tenant=7") == [one]
        assert await found(ask, runs, query='"no answer" since:-1h duration<1h late<1h') == [two]
        assert await found(ask, runs, query="job:etl.* manual:true", status="success", limit="1") == [one]
        assert await found(ask, "/scheduler/jobs/report/executions", query="job:r*") == [three]
        assert await found(ask, "/scheduler/jobs/report/executions", query="tag:etl") == []
        assert await found(ask, runs, sort="job") == [one, two, three]
        assert await found(ask, runs, query="status:success", sort="-by") == [one, three]
        assert await found(ask, runs, sort="-late", query="status:missed") == []


async def test_pages_of_a_sorted_list_continue_by_cursor(serve: Any) -> None:
    async with serve(*JOBS) as ask:
        for actor in ("ann", "otto", "bob"):
            await run(ask, "etl.daily", actor)
        first = (await ask("GET", "/scheduler/executions?sort=by&limit=2")).json
        second = (await ask("GET", f"/scheduler/executions?sort=by&limit=2&cursor={first['next']}")).json
        other = await ask("GET", f"/scheduler/executions?sort=-by&limit=2&cursor={first['next']}")

    assert [item["actor"] for item in first["items"] + second["items"]] == ["ann", "bob", "otto"]
    assert (first["total"], second["next"]) == (3, None)
    assert other.culprits == [("query", "cursor")]


@pytest.mark.parametrize(
    ("path", "query", "name", "says"),
    [
        ("executions", "query=status:failde", "query", "at character 8: expected one of scheduled, running, success"),
        (
            "logs",
            "query=tag:a+statsu:failed",
            "query",
            "at character 7: there is no key 'statsu'; did you mean",
        ),
        ("executions", "query=status:failed&status=success", "status", "the `query` asks for the same"),
        ("executions", "query=boom&q=boom", "q", "the `query` asks for the same"),
        ("executions", "sort=size", "sort", "expected one of started, job, status"),
        ("jobs", "query=status:success", "query", "at character 8: expected one of active, paused, running, failing"),
        ("jobs", "query=late%3E1m", "query", "at character 1: there is no key 'late'"),
        ("jobs", "sort=size", "sort", "expected one of job, schedule, next, last"),
        ("jobs", "first=0", "first", ">= 1"),
        ("query-suggestions", "list=alerts", "list", "expected one of runs, jobs"),
    ],
)
async def test_an_invalid_query_is_a_problem_that_says_where(
    serve: Any, path: str, query: str, name: str, says: str
) -> None:
    async with serve(*JOBS) as ask:
        answer = await ask("GET", f"/scheduler/{path}?{query}")

    assert answer.status == 400
    assert answer.culprits == [("query", name)]
    assert says in answer.json["detail"]


async def test_a_query_asks_for_jobs_and_a_sort_orders_them(serve: Any) -> None:
    async with serve(*JOBS) as ask:
        await run(ask, "etl.hourly", "ann")
        await run(ask, "etl.daily", "ann")
        jobs = "/scheduler/jobs"

        assert await found(ask, jobs, query="tag:etl") == ["etl.daily", "etl.hourly"]
        assert await found(ask, jobs, query="status:paused,failing") == ["etl.hourly", "report"]
        assert await found(ask, jobs, query="import") == ["etl.daily"]
        assert await found(ask, jobs, query="job:*ly origin:code status:active", fields="name") == [
            "etl.daily",
            "etl.hourly",
        ]
        assert await found(ask, jobs, query="owner:ann") == []
        assert await found(ask, jobs, sort="-job", fields="name") == ["report", "etl.hourly", "etl.daily"]
        assert await found(ask, jobs, sort="-last") == ["etl.daily", "etl.hourly", "report"]
        assert await found(ask, jobs, sort="next") == ["etl.hourly", "etl.daily", "report"]
        assert await found(ask, jobs, sort="next", first="2") == ["etl.hourly", "etl.daily"]
        assert (await found(ask, jobs, sort="schedule"))[-1] == "etl.daily"


async def suggested(ask: Any, text: str, *, of: str = "runs", at: int | None = None) -> tuple[int, int, list[str]]:
    place = {"at": str(at)} if at is not None else {}
    answer = (await ask("GET", "/scheduler/query-suggestions", params={"list": of, "query": text, **place})).json
    return answer["start"], answer["end"], [item["text"] for item in answer["items"]]


async def test_suggestions_are_keys_and_the_values_that_there_are(serve: Any) -> None:
    async with serve(*JOBS) as ask:
        await run(ask, "etl.daily", "otto", labels={"tenant": "7"})

        _, _, keys = await suggested(ask, "")
        assert keys[:3] == ["status:", "job:", "tag:"]
        assert await suggested(ask, "tag:etl la") == (8, 10, ["label:", "late>"])
        assert await suggested(ask, "status:fa") == (7, 9, ["failed"])
        assert await suggested(ask, "status:failed,m") == (14, 15, ["missed"])
        assert await suggested(ask, "tag:sl") == (4, 6, ['"big, slow"'])
        assert await suggested(ask, 'tag:"big, ') == (4, 10, ['"big, slow"'])
        assert await suggested(ask, "job:HOUR") == (4, 8, ["etl.hourly"])
        assert await suggested(ask, "job:import") == (4, 10, ["etl.daily"])
        assert await suggested(ask, "by: status:failed", at=3) == (3, 3, ["otto"])
        assert await suggested(ask, "label:") == (6, 6, ['"tenant:7"'])
        assert await suggested(ask, "late>") == (5, 5, ["10s", "1m", "5m", "1h"])
        assert await suggested(ask, "size:") == (5, 5, [])
        assert await suggested(ask, "status:", of="jobs") == (7, 7, ["active", "paused", "running", "failing"])
        assert await suggested(ask, "owner:", of="jobs") == (6, 6, [])
        names = (await ask("GET", "/scheduler/query-suggestions?list=jobs&query=job:dai")).json
        assert names == {"start": 4, "end": 7, "key": "job", "items": [{"text": "etl.daily", "name": "Daily import"}]}
