"""Jobs that are defined over HTTP: previews of what their keys would do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gnomon import Job, SecretReference
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
    assert {problem["key"] for problem in found["problems"]} == {"id", "func", "cron", "overlap", "retyr"}


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


# --- orders ---

JOBS = "/scheduler/jobs"
NIGHTLY = {"id": "nightly", "func": f"{HERE}sync", "cron": "0 3 * * *", "kwargs": {"market": "hk"}}
OPEN = {"allow_functions": [f"{HERE}*"]}


async def test_a_job_is_added_with_its_address_and_its_version(serve: Any) -> None:
    async with serve(guarded=True, kernel=OPEN, base_path="/api") as ask:
        answer = await ask("POST", f"{JOBS}?owner=tenant-7&reason=new", as_="admin", json=NIGHTLY)
        found = await ask("GET", f"{JOBS}/nightly", as_="viewer")
        listed = await ask("GET", f"{JOBS}?origin=api&owner=tenant-7", as_="viewer")
        others = await ask("GET", f"{JOBS}?owner=tenant-8", as_="viewer")
        history = (await ask("GET", "/scheduler/history", as_="viewer")).json["history"]

    assert (answer.status, answer.headers["Location"]) == (201, "/api/scheduler/jobs/nightly")
    assert answer.headers["ETag"] == found.headers["ETag"] == '"1"'
    job = found.json
    assert (job["origin"], job["owner"], job["version"], job["problem"]) == ("api", "tenant-7", 1, None)
    assert job["definition"] == NIGHTLY | {"timezone": "UTC"}
    assert [one["id"] for one in listed.json] == ["nightly"]
    assert others.json == []
    assert [(one["action"], one["actor"], one["detail"]) for one in history] == [("add", "admin", "new")]


async def test_a_job_that_exists_is_not_added_again(serve: Any) -> None:
    async with serve(hourly(), kernel=OPEN) as ask:
        await ask("POST", JOBS, json=NIGHTLY)
        answers = [await ask("POST", JOBS, json=NIGHTLY | {"id": job_id}) for job_id in ("nightly", "hourly")]

    assert [answer.status for answer in answers] == [409, 409]
    assert [answer.json["type"] for answer in answers] == ["/docs/problems#job-exists"] * 2


async def test_keys_that_are_not_valid_are_all_named_and_nothing_is_added(serve: Any) -> None:
    keys = NIGHTLY | {"cron": "x", "overlap": "skp", "retry": {"attempts": "two"}, "kwargs": {"markt": 1}}
    async with serve(kernel=OPEN) as ask:
        answer = await ask("POST", JOBS, json=keys)
        jobs = (await ask("GET", JOBS)).json

    assert answer.status == 422
    assert answer.json["type"] == "/docs/problems#invalid-job"
    places = {"cron", "overlap", "retry.attempts", "kwargs"}
    assert set(answer.culprits) == {("body", place) for place in places}
    assert jobs == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_function_that_is_not_allowed_is_refused_with_what_to_do(serve: Any, method: str) -> None:
    path = JOBS if method == "POST" else f"{JOBS}/nightly"
    async with serve() as ask:
        answer = await ask(method, path, json=NIGHTLY)
        history = (await ask("GET", "/scheduler/history")).json["history"]

    assert answer.status == 403
    assert answer.culprits == [("body", "func")]
    assert f'allow_functions = ["{__name__}:*"]' in answer.json["detail"]
    assert [(one["job_id"], one["status"]) for one in history] == [("nightly", "failed")]


async def test_jobs_are_for_admins(serve: Any) -> None:
    async with serve(hourly(), guarded=True, kernel=OPEN) as ask:
        for method, path in (("POST", JOBS), *((method, f"{JOBS}/nightly") for method in ("PUT", "PATCH", "DELETE"))):
            body = {} if method == "DELETE" else {"json": NIGHTLY}
            assert (await ask(method, path, as_="operator", **body)).status == 403


async def test_a_job_is_replaced_as_a_whole(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask:
        new = await ask("PUT", f"{JOBS}/nightly", json={key: NIGHTLY[key] for key in ("func", "cron")})
        again = await ask("PUT", f"{JOBS}/nightly", json={"func": f"{HERE}sync", "every": "1h"})

    assert (new.status, again.status) == (201, 200)
    assert "Location" in new.headers
    assert again.json["definition"] == {"id": "nightly", "func": f"{HERE}sync", "every": "1h", "timezone": "UTC"}
    assert again.headers["ETag"] == '"2"'


async def test_a_replaced_job_keeps_its_owner(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask:
        await ask("POST", JOBS, json=NIGHTLY)
        taken = await ask("PUT", f"{JOBS}/nightly?owner=o1", json=NIGHTLY)
        kept = await ask("PUT", f"{JOBS}/nightly", json=NIGHTLY | {"name": "X"})
        other = await ask("PUT", f"{JOBS}/nightly?owner=o2", json=NIGHTLY)

    assert (taken.json["owner"], kept.json["owner"], other.status) == ("o1", "o1", 409)
    assert "belongs to 'o1'" in other.json["detail"]


async def test_a_job_is_changed_by_a_merge_patch(serve: Any) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    async with serve(kernel=OPEN) as ask:
        await ask("POST", JOBS, json=NIGHTLY | {"timeout": "5m", "retry": {"attempts": 3, "delay": "1m"}})
        patch = b'{"every": "2h", "timeout": null, "retry": {"attempts": 5}, "description": "new"}'
        answer = await ask("PATCH", f"{JOBS}/nightly", data=patch, headers=headers)

    assert answer.status == 200
    definition = answer.json["definition"]
    assert "cron" not in definition
    assert "timeout" not in definition
    assert definition["every"] == "2h"
    assert definition["retry"].items() >= {"attempts": 5, "delay": "1m"}.items()
    assert definition["kwargs"] == {"market": "hk"}


async def test_a_key_to_remove_that_no_job_has_is_named(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask:
        await ask("POST", JOBS, json=NIGHTLY)
        answer = await ask("PATCH", f"{JOBS}/nightly", json={"timout": None, "retry": {"atempts": None}, "note": None})
        absent = await ask("PATCH", f"{JOBS}/nightly", json={"overlap": None, "retry": {"attempts": None}})

    assert answer.status == 422
    assert "timout: unknown key; did you mean 'timeout'?" in answer.json["detail"]
    assert "retry.atempts: unknown key; did you mean 'attempts'?" in answer.json["detail"]
    assert absent.status == 200


async def test_a_change_cannot_rename_or_pause_a_job(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask:
        await ask("POST", JOBS, json=NIGHTLY)
        answer = await ask("PATCH", f"{JOBS}/nightly", json={"id": "daily", "paused": True})

    assert answer.status == 422
    assert set(answer.culprits) == {("body", "id"), ("body", "paused")}


async def test_a_lost_update_is_refused(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask:
        await ask("POST", JOBS, json=NIGHTLY)
        seen = {"If-Match": '"1"'}
        first = await ask("PATCH", f"{JOBS}/nightly", json={"description": "mine"}, headers=seen)
        late = [
            await ask("PATCH", f"{JOBS}/nightly", json={"description": "theirs"}, headers=seen),
            await ask("PUT", f"{JOBS}/nightly", json=NIGHTLY, headers=seen),
            await ask("DELETE", f"{JOBS}/nightly", headers=seen),
            await ask("PUT", f"{JOBS}/other", json=NIGHTLY | {"id": "other"}, headers=seen),
        ]
        kept = (await ask("GET", f"{JOBS}/nightly")).json

    assert first.status == 200
    assert [answer.status for answer in late] == [412] * 4
    assert [answer.culprits for answer in late] == [[("header", "If-Match")]] * 4
    assert kept["description"] == "mine"


async def test_a_job_is_removed_and_its_runs_stay(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask:
        await ask("POST", JOBS, json=NIGHTLY)
        done = await ask.kernel.wait((await ask.kernel.trigger("nightly")).execution.id)
        answer = await ask("DELETE", f"{JOBS}/nightly?reason=obsolete")
        gone = await ask("DELETE", f"{JOBS}/nightly")
        run = await ask("GET", f"/scheduler/executions/{done.id}")

    assert (answer.status, answer.json) == (200, {"id": "nightly", "version": 2})
    assert gone.status == 404
    assert run.json["status"] == "success"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_job_that_is_defined_elsewhere_names_its_source(serve: Any, method: str) -> None:
    body: dict[str, Any] = {} if method == "DELETE" else {"json": {"func": "hourly", "every": "2h"}}
    async with serve(hourly(), kernel=OPEN) as ask:
        answer = await ask(method, f"{JOBS}/hourly", **body)

    assert answer.status == 409
    assert answer.json["type"] == "/docs/problems#job-defined-elsewhere"
    assert "the program defines it" in answer.json["detail"]


async def test_the_id_of_a_job_that_is_defined_elsewhere_cannot_be_added(serve: Any) -> None:
    async with serve(hourly(), kernel=OPEN) as ask:
        answer = await ask("POST", JOBS, json=NIGHTLY | {"id": "hourly"})

    assert answer.status == 409
    detail = "the program defines a job 'hourly': choose another id, or change that job there"
    assert answer.json["detail"] == detail


async def test_an_order_may_name_a_declared_job_and_inherits_from_it(serve: Any) -> None:
    declared = Job(id="base", func=sync, kwargs={"market": "us"}, timeout=Duration(minutes=5))
    async with serve(declared) as ask:
        answer = await ask("POST", JOBS, json={"id": "copy", "func": "base", "every": "1h"})
        patched = await ask("PATCH", f"{JOBS}/copy", json={"timeout": None, "kwargs": {"market": "hk"}})

    assert answer.status == 201
    inherited = {"func": "base", "kwargs": {"market": "us"}, "timeout": "5m"}
    assert answer.json["definition"].items() >= inherited.items()
    assert (patched.status, patched.json["policies"]["timeout"]) == (200, None)
    assert patched.json["kwargs"] == {"market": "hk"}


async def test_a_secret_of_a_declared_job_cannot_be_sent_to_another_function(serve: Any) -> None:
    declared = Job(id="base", func=sync, kwargs={"market": SecretReference(env="MY_SECRET")}, overrides="none")
    async with serve(declared, kernel={"allow_functions": [f"{HERE}*"]}) as ask:
        await ask("POST", JOBS, json={"id": "mine", "func": "base"})
        patched = await ask("PATCH", f"{JOBS}/mine", json={"func": f"{HERE}sync", "overrides": None})
        opened = await ask("PATCH", f"{JOBS}/mine", json={"overrides": None})
        removed = await ask("PATCH", f"{JOBS}/mine", json={"func": f"{HERE}sync", "kwargs": {"market": None}})

    assert (patched.status, opened.status, removed.status) == (422, 422, 200)
    assert "kwargs.market: refers to a secret, the environment variable MY_SECRET" in patched.json["detail"]
    assert removed.json["kwargs"] == {}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_repeated_order_has_no_second_effect(serve: Any, method: str) -> None:
    headers = {"Idempotency-Key": "k1", "If-Match": '"1"'}
    options: dict[str, Any] = {"headers": headers}
    path = JOBS if method == "POST" else f"{JOBS}/nightly"
    if method != "DELETE":
        options["json"] = NIGHTLY | {"every": "2h", "cron": None}
    async with serve(kernel=OPEN) as ask:
        if method == "POST":
            del headers["If-Match"]
        else:
            await ask("POST", JOBS, json=NIGHTLY)
        first, second = [await ask(method, path, **options) for _ in range(2)]
        before = await ask.kernel.events()
        if method != "DELETE":
            options["json"] = NIGHTLY | {"every": "3h", "cron": None}
            other = await ask(method, path, **options)
            assert other.status == 422
            assert other.culprits == [("header", "Idempotency-Key")]

    assert first.status == second.status == (201 if method == "POST" else 200)
    assert first.headers.get("ETag") == second.headers.get("ETag")
    kinds = [event.type for event in before if event.type.startswith("job_")]
    assert len(kinds) == (1 if method == "POST" else 2)


async def test_a_job_whose_only_fire_is_due_at_once_is_answered(serve: Any) -> None:
    """It may be over, and removed, before its addition is durable."""
    keys = {"id": "now", "func": f"{HERE}sync", "at": "2020-01-01T00:00:00Z"}
    async with serve(kernel=OPEN) as ask:
        answer = await ask("POST", JOBS, json=keys)

    assert (answer.status, answer.json["id"]) == (201, "now")


async def test_of_two_changes_at_once_none_is_lost(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask:
        await ask("POST", JOBS, json=NIGHTLY)
        patches: list[dict[str, Any]] = [{"description": "a"}, {"timeout": "1m"}, {"priority": 3}, {"name": "N"}]
        answers = await asyncio.gather(*(ask("PATCH", f"{JOBS}/nightly", json=patch) for patch in patches))
        definition = (await ask("GET", f"{JOBS}/nightly")).json["definition"]

    assert [answer.status for answer in answers] == [200] * 4
    assert definition.items() >= {"description": "a", "timeout": "1m", "priority": 3, "name": "N"}.items()


async def test_a_limited_token_defines_no_jobs(serve: Any) -> None:
    from gnomon.conversion import Secret
    from gnomon_web.auth.tokens import Token

    text = "Zq8v-3rWk-X5tL-of-the-limited"
    token = Token(name="limited", role="admin", token=Secret(text), jobs=["night*"])
    async with serve(hourly(), kernel=OPEN, tokens=[token]) as ask:
        headers = {"Authorization": f"Bearer {text}"}
        answers = [
            await ask("POST", JOBS, json=NIGHTLY, headers=headers),
            await ask("POST", PREVIEW, json=NIGHTLY, headers=headers),
            await ask("PUT", f"{JOBS}/nightly", json=NIGHTLY, headers=headers),
        ]

    assert [answer.status for answer in answers] == [403, 403, 403]


@pytest.mark.parametrize(
    ("market", "place"),
    [
        ({"env": "TOKEN"}, "kwargs.market"),
        ({"file": "/run/token"}, "kwargs.market"),
        ("${env:TOKEN}", "kwargs.market"),
        ("${{ secrets.TOKEN }}", "kwargs.market"),
        ([{"login": {"env": "TOKEN"}}], "kwargs.market[0].login"),
    ],
)
async def test_what_looks_like_a_secret_is_refused_and_not_stored_as_data(serve: Any, market: Any, place: str) -> None:
    keys = {"id": "a", "func": f"{HERE}take", "kwargs": {"market": market}}
    async with serve(kernel=OPEN) as ask:
        added = await ask("POST", JOBS, json=keys)
        preview = await ask("POST", PREVIEW, json=keys)
        await ask("POST", JOBS, json=keys | {"kwargs": {"market": "env: x"}})
        changed = await ask("PATCH", f"{JOBS}/a", json={"kwargs": {"market": market, "more": 1}})
        jobs = (await ask("GET", f"{JOBS}/a")).json

    assert (added.status, added.culprits) == (422, [("body", place)])
    assert "name the id of that job as `func`" in added.json["errors"][0]["detail"]
    assert [problem["key"] for problem in preview.json["problems"]] == [place]
    assert changed.status == 422
    assert jobs["kwargs"] == {"market": "env: x"}


async def take(market: Any = None, more: int = 0) -> None: ...
