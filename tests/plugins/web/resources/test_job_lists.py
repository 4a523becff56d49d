"""Lists of jobs that are added over HTTP and by the client: all of them in one commit, or none."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon import ConfigError, Job, JobOrdersError
from gnomon.cli.access.remote import RemoteKernel
from gnomon.client import Client
from gnomon.durations import Duration

HERE = f"{__name__}:"
JOBS = "/scheduler/jobs"
OPEN = {"allow_functions": [f"{HERE}*"]}


async def sync(market: str = "cn") -> None: ...


def keys(job_id: str, **more: Any) -> dict[str, Any]:
    return {"id": job_id, "func": f"{HERE}sync", "cron": "0 3 * * *", **more}


async def test_a_list_of_jobs_is_added_in_one_commit(serve: Any) -> None:
    wanted = [keys(f"job-{number}", kwargs={"market": str(number)}) for number in range(500)]
    async with serve(kernel=OPEN) as ask:
        head = ask.kernel.health().position
        answer = await ask("POST", f"{JOBS}?owner=tenant-7&reason=moved", json=wanted)
        events = await ask.kernel.events(head)
        shown = (await ask("GET", f"{JOBS}/job-7")).json

    assert answer.status == 201
    assert [one["id"] for one in answer.json] == [one["id"] for one in wanted]
    assert {one["version"] for one in answer.json} == {1}
    assert answer.json[0]["next_run_time"] is not None
    assert len({event.at for event in events if event.type == "job_added"}) == 1
    assert (shown["owner"], shown["version"], shown["kwargs"]) == ("tenant-7", 1, {"market": "7"})


async def test_each_problem_of_a_list_has_the_number_of_its_job_and_nothing_is_added(serve: Any) -> None:
    wanted = [
        keys("a"),
        keys("b", cron="x", overlap="skp"),
        keys("c", retyr=1),
        keys("d", func="os:system"),
        keys("hourly"),
    ]
    async with serve(Job(id="hourly", func=sync, every=Duration(hours=1)), kernel=OPEN) as ask:
        head = ask.kernel.health().position
        answer = await ask("POST", JOBS, json=wanted)
        events = await ask.kernel.events(head)
        jobs = (await ask("GET", JOBS)).json

    assert (answer.status, answer.json["type"]) == (422, "/docs/problems#invalid-job")
    places = ["[1].cron", "[1].overlap", "[2].retyr", "[3].func", "[4].id"]
    assert sorted(answer.culprits) == [("body", place) for place in places]
    assert answer.json["detail"].startswith("4 of 5 jobs cannot be added, so none was: [1].")
    assert [one["id"] for one in jobs] == ["hourly"]
    assert [event.type for event in events] == ["act_refused"]


@pytest.mark.parametrize(
    ("wanted", "status", "places"),
    [
        ([], 422, [""]),
        ([keys("a"), 7], 422, ["[1]"]),
        ([keys("a"), {"func": "x"}], 422, ["[1].id"]),
        ([{"id": 7}], 422, ["[0].id"]),
        ([keys("a"), keys("b"), keys("a")], 409, ["[2].id"]),
        ([keys("known"), keys("b")], 409, ["[0].id"]),
        ([keys("a", func="os:system")], 403, ["[0].func"]),
        ([keys("a", after=["nosuch"], cron=None)], 422, ["[0].after"]),
        ([keys(f"a{number}") for number in range(1_001)], 422, [""]),
    ],
    ids=["empty", "number", "no id", "id of a number", "twice", "known", "not allowed", "after", "too many"],
)
async def test_lists_that_cannot_be_added_are_refused_as_a_whole(
    serve: Any, wanted: list[Any], status: int, places: list[str]
) -> None:
    async with serve(kernel=OPEN) as ask:
        await ask("POST", JOBS, json=keys("known"))
        answer = await ask("POST", JOBS, json=wanted)
        jobs = (await ask("GET", JOBS)).json

    assert answer.status == status
    assert [place for _, place in answer.culprits] == places
    assert [one["id"] for one in jobs] == ["known"]


async def test_jobs_of_a_list_may_follow_each_other(serve: Any) -> None:
    follower = {"id": "report", "func": f"{HERE}sync", "after": ["load"]}
    async with serve(kernel=OPEN) as ask:
        answer = await ask("POST", JOBS, json=[follower, keys("load")])
        circle = [{**follower, "id": "a", "after": ["b"]}, {**follower, "id": "b", "after": ["a"]}]
        refused = await ask("POST", JOBS, json=circle)
        jobs = (await ask("GET", JOBS)).json

    assert answer.status == 201
    assert refused.status == 422
    assert [one["id"] for one in jobs] == ["load", "report"]


async def test_a_repeated_list_has_no_second_effect_and_a_changed_one_is_refused(serve: Any) -> None:
    headers = {"Idempotency-Key": "k1"}
    async with serve(kernel=OPEN) as ask:
        first = await ask("POST", JOBS, json=[keys("a"), keys("b")], headers=headers)
        head = ask.kernel.health().position
        again = await ask("POST", JOBS, json=[keys("a"), keys("b")], headers=headers)
        after = ask.kernel.health().position
        other = await ask("POST", JOBS, json=[keys("a"), keys("c")], headers=headers)
        single = await ask("POST", JOBS, json=keys("b"), headers=headers)

    assert (first.status, again.status, other.status, single.status) == (201, 201, 422, 422)
    assert again.json == first.json
    assert after == head
    assert other.json["type"] == single.json["type"] == "/docs/problems#idempotency-key-reused"


async def test_lists_are_for_admins(serve: Any) -> None:
    async with serve(guarded=True, kernel=OPEN) as ask:
        assert (await ask("POST", JOBS, as_="operator", json=[keys("a")])).status == 403
        assert (await ask("POST", JOBS, as_="admin", json=[keys("a")])).status == 201


async def test_the_client_and_the_command_line_add_lists(serve: Any) -> None:
    async with (
        serve(kernel=OPEN) as ask,
        Client(ask.web.url) as client,
        RemoteKernel(ask.web.url) as kernel,
    ):
        added = await client.add_jobs([keys("a"), keys("b")], owner="me")
        with pytest.raises(JobOrdersError, match=r"2 of 3 jobs cannot be added, so none was") as caught:
            await client.add_jobs([keys("c"), keys("d", cron="x"), keys("a")])
        with pytest.raises(ConfigError) as printed:
            await kernel.order_jobs([keys("c"), keys("d", cron="x")], owner=None, reason=None)
        orders = await kernel.order_jobs([keys("e"), keys("f")], owner=None, reason=None)
        jobs = await client.jobs()

    assert [(one.id, one.version) for one in added] == [("a", 1), ("b", 1)]
    assert sorted(caught.value.problems) == [1, 2]
    assert printed.value.problems[0].startswith("jobs[1].cron: ")
    assert [one.is_new for one in orders] == [True, True]
    assert [(one.id, one.owner) for one in jobs] == [("a", "me"), ("b", "me"), ("e", None), ("f", None)]
