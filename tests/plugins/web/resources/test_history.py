from __future__ import annotations

from typing import Any

import pytest

from gnomon import Job, hookimpl


async def tick() -> None:
    """A job."""


async def test_operator_actions_are_listed_newest_first_with_their_actor(serve: Any) -> None:
    async with serve(tick, Job(id="other", func=tick), guarded=True) as ask:
        for what in ("pause", "resume", "trigger"):
            await ask("POST", f"/scheduler/jobs/tick/{what}", as_="operator")
        await ask("PUT", "/scheduler/jobs/other/metadata", json={"display_name": "Other"}, as_="admin")
        everything = (await ask("GET", "/scheduler/history", as_="viewer")).json
        of_job = (await ask("GET", "/scheduler/jobs/tick/history?limit=2", as_="viewer")).json
        rest = (await ask("GET", "/scheduler/jobs/tick/history?limit=2&offset=2", as_="viewer")).json

    assert [(entry["job_id"], entry["action"], entry["actor"]) for entry in everything["history"]] == [
        ("other", "describe", "admin"),
        ("tick", "trigger", "operator"),
        ("tick", "resume", "operator"),
        ("tick", "pause", "operator"),
    ]
    assert everything["total"] == 4
    assert [entry["action"] for entry in of_job["history"]] == ["trigger", "resume"]
    assert (of_job["total"], of_job["limit"], of_job["offset"]) == (3, 2, 0)
    assert [entry["action"] for entry in rest["history"]] == ["pause"]
    assert {"job_id", "action", "status", "error_message", "actor", "timestamp"} <= of_job["history"][0].keys()


async def test_the_history_is_filtered_by_job_status_action_actor_and_time(serve: Any) -> None:
    class Closed:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            return "the exchange is closed" if job.id == "other" else None

    async with serve(tick, Job(id="other", func=tick), plugins=[Closed()], guarded=True) as ask:
        await ask("POST", "/scheduler/jobs/tick/pause", as_="operator")
        await ask("POST", "/scheduler/jobs/tick/resume", as_="admin")
        await ask("POST", "/scheduler/jobs/other/trigger", as_="admin")

        async def found(query: str, path: str = "/scheduler/history") -> list[str]:
            page = (await ask("GET", f"{path}?{query}", as_="viewer")).json
            assert page["total"] == len(page["history"])
            return [f"{one['actor']} {one['action']} {one['job_id']}" for one in page["history"]]

        assert await found("job_id=tick") == ["admin resume tick", "operator pause tick"]
        assert await found("status=failed") == ["admin trigger other"]
        assert await found("status=success&action=resume&job_id=") == ["admin resume tick"]
        assert await found("actor=operator") == ["operator pause tick"]
        assert await found("since=2000-01-01T00:00:00Z&until=2000-01-02T00:00:00Z") == []
        assert await found("since=2000-01-01T00:00:00Z&actor=admin&action=trigger") == ["admin trigger other"]
        assert await found("job_id=tick&actor=admin", "/scheduler/jobs/tick/history") == ["admin resume tick"]
        other = await ask("GET", "/scheduler/jobs/tick/history?job_id=other", as_="viewer")

    assert (other.status, other.culprits) == (400, [("query", "job_id")])


async def test_the_history_of_an_unknown_job_is_not_found(serve: Any) -> None:
    async with serve(tick) as ask:
        answer = await ask("GET", "/scheduler/jobs/tok/history")

    assert (answer.status, answer.culprits) == (404, [("path", "job_id")])


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "offset=-1", "status=late", "since=yesterday", "who=me"])
async def test_the_history_refuses_invalid_parameters(serve: Any, query: str) -> None:
    async with serve(tick) as ask:
        answer = await ask("GET", f"/scheduler/history?{query}")

    assert (answer.status, answer.culprits) == (400, [("query", query.partition("=")[0])])


async def test_an_operators_description_of_a_job_survives_a_restart(serve: Any) -> None:
    job = Job(id="tick", func=tick, description="from the definition")
    async with serve(job, guarded=True) as ask:
        words = {"display_name": "行情同步", "description": "ask Li before you pause this"}
        answer = await ask("PUT", "/scheduler/jobs/tick/metadata", json=words, as_="operator")
    async with serve(job, guarded=True) as ask:
        kept = (await ask("GET", "/scheduler/jobs?q=行情", as_="viewer")).json
        taken_away = await ask("PUT", "/scheduler/jobs/tick/metadata", json={"description": ""}, as_="operator")

    assert answer.status == 200
    assert [(one["display_name"], one["description"]) for one in kept] == [tuple(words.values())]
    assert taken_away.json["display_name"] == "行情同步"
    assert taken_away.json["description"] == "from the definition"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"display_name": "a" * 51}, "display_name"),
        ({"description": "a" * 201}, "description"),
        ({"name": "x"}, "name"),
    ],
)
async def test_metadata_that_is_too_long_or_unknown_is_refused(serve: Any, body: dict[str, str], name: str) -> None:
    async with serve(tick) as ask:
        answer = await ask("PUT", "/scheduler/jobs/tick/metadata", json=body)

    assert (answer.status, answer.culprits) == (422, [("body", name)])


@pytest.mark.parametrize("config", [{}, {"dialect": "tradingagents", "envelope": False}], ids=["clean", "dialect"])
async def test_acts_that_were_refused_are_in_the_history_as_failed_with_their_actor(
    serve: Any, config: dict[str, Any]
) -> None:
    async with serve(tick, guarded=True, **config) as ask:
        run = (await ask.kernel.trigger("tick")).execution.id
        await ask.kernel.wait(run)
        statuses = [
            (await ask("POST", "/scheduler/jobs/tok/trigger", as_="operator")).status,
            (await ask("POST", "/scheduler/trigger", json={"job_id": "tok"}, as_="admin")).status,
            (await ask("POST", "/scheduler/jobs/tok/pause", as_="operator")).status,
            (await ask("POST", f"/scheduler/executions/{run}/cancel", as_="operator")).status,
            (await ask("DELETE", f"/scheduler/executions/{'0' * 24}", as_="admin")).status,
            (await ask("POST", "/scheduler/jobs/tick/trigger", json={"kwargs": {"x": 1}}, as_="operator")).status,
        ]
        failed = (await ask("GET", "/scheduler/history?status=failed", as_="viewer")).json
        of_unknown = (await ask("GET", "/scheduler/jobs/tok/history", as_="viewer")).json

    assert statuses == [404, 404, 404, 409, 404, 422]
    assert [(one["actor"], one["action"], one["job_id"]) for one in failed["history"]] == [
        ("operator", "trigger", "tick"),
        ("admin", "hide", ""),
        ("operator", "cancel", "tick"),
        ("operator", "pause", "tok"),
        ("admin", "trigger", "tok"),
        ("operator", "trigger", "tok"),
    ]
    assert all(one["error_message"] for one in failed["history"])
    assert of_unknown["total"] == 3
