"""Jobs that are defined over HTTP: previews of what their keys would do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gnomon import Job
from gnomon.durations import Duration

HERE = f"{__name__}:"
PREVIEW = "/scheduler/jobs/preview"


async def sync(market: str = "cn") -> None: ...


def hourly() -> Job:
    return Job(id="hourly", func=sync, every=Duration(hours=1))


async def test_a_preview_shows_the_fires_of_new_keys_and_changes_nothing(serve: Any) -> None:
    async with serve(hourly(), guarded=True, kernel={"allow_functions": [f"{HERE}*"]}) as ask:
        before = await ask.kernel.events()
        keys = {"id": "nightly", "func": f"{HERE}sync", "cron": "0 3 * * *", "kwargs": {"market": "hk"}}
        answer = await ask("POST", PREVIEW, as_="operator", json=keys)
        after = await ask.kernel.events()

    assert answer.status == 200
    found = answer.json
    assert (found["ok"], found["problems"], found["action"]) == (True, [], "add")
    assert found["schedule"] == "At 03:00 every day (UTC)"
    assert len(found["next_run_times"]) == 10
    assert (found["gained"]["count"], found["lost"]["count"]) == (7, 0)
    assert [event.type for event in after] == [event.type for event in before]


async def test_a_preview_of_a_known_job_shows_what_changes(serve: Any) -> None:
    async with serve(hourly()) as ask:
        answer = await ask("POST", PREVIEW, json={"id": "hourly", "func": "hourly", "every": "30m"})

    found = answer.json
    assert found["action"] == "change"
    assert {"key": "every", "old": "1h", "new": "30m"} in found["changes"]
    assert found["gained"]["count"] >= 168


async def test_a_preview_has_every_problem_with_its_place(serve: Any) -> None:
    async with serve(hourly()) as ask:
        keys = {"id": "a b", "func": "os:system", "cron": "* *", "overlap": "skp", "retyr": 1}
        answer = await ask("POST", PREVIEW, json=keys)

    found = answer.json
    assert (answer.status, found["ok"]) == (200, False)
    assert {problem["key"] for problem in found["problems"]} == {"func", "cron", "overlap", "retyr"}


async def test_a_preview_names_no_function_that_is_not_allowed(serve: Any) -> None:
    async with serve(hourly()) as ask:
        answer = await ask("POST", PREVIEW, json={"id": "x", "func": f"{HERE}sync"})

    (problem,) = answer.json["problems"]
    assert problem["key"] == "func"
    assert "allow_functions" in problem["detail"]


async def test_previews_are_for_operators(serve: Any) -> None:
    async with serve(hourly(), guarded=True) as ask:
        assert (await ask("POST", PREVIEW, as_="viewer", json={})).status == 403
        assert (await ask("POST", PREVIEW, as_="operator", json={})).status == 200


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null"])
async def test_a_preview_of_something_else_than_an_object_is_refused(serve: Any, body: bytes) -> None:
    async with serve(hourly()) as ask:
        answer = await ask("POST", PREVIEW, data=body, headers={"Content-Type": "application/json"})

    assert answer.status == 422
    assert answer.culprits == [("body", "")]


async def test_previews_do_not_hold_up_the_kernel(serve: Any) -> None:
    """All triggers of this schedule are asked for each of its fires, which takes seconds."""
    slow = {"type": "or", "triggers": [{"type": "interval", "seconds": 1}] * 100}
    async with serve(hourly()) as ask:
        keys = {"id": "x", "func": "hourly", "trigger": slow}
        previews = [asyncio.create_task(ask("POST", PREVIEW, json=keys)) for _ in range(2)]
        done = await ask.kernel.wait((await ask.kernel.trigger("hourly")).execution.id)
        answers = await asyncio.gather(*previews)
        health = ask.kernel.health()

    assert done.status == "success"
    assert [answer.json["ok"] for answer in answers] == [True, True]
    assert health.loop_stalls == 0
