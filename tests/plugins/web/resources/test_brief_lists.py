"""Lists and snapshots are bounded in bytes; the record of one run has everything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gnomon import Job
from gnomon.domain import codec
from gnomon.domain.brief import BRIEF_BYTES
from gnomon.jobs.registered import ARGUMENTS_LIMIT

NOTE = "n" * 100_000


async def echo(note: str = "") -> str:
    return note[:60_000]


async def take(note: Any) -> None: ...


async def fails(note: str) -> None:
    raise ValueError(note)


async def runs(ask: Any, job_id: str, count: int, **kwargs: Any) -> list[str]:
    triggered = [await ask.kernel.trigger(job_id, kwargs=kwargs) for _ in range(count)]
    return [(await ask.kernel.wait(one.execution.id)).id for one in triggered]


@pytest.mark.parametrize("path", ["/scheduler/executions", "/scheduler/logs", "/scheduler/jobs/echo/executions"])
async def test_lists_cut_arguments_and_results_and_say_so(serve: Any, path: str) -> None:
    async with serve(Job(id="echo", func=echo, overlap="allow")) as ask:
        large = (await runs(ask, "echo", 20, note=NOTE))[-1]
        small = (await runs(ask, "echo", 1, note="short"))[0]
        listed = await ask("GET", f"{path}?limit=200")
        single = await ask("GET", f"/scheduler/executions/{large}")

    found = {one["_id"]: one for one in listed.json["items"]}
    assert len(listed.body) < 21 * 4 * BRIEF_BYTES
    assert found[large]["truncated"] is True
    assert found[large]["kwargs"]["note"].startswith("nnn")
    assert len(json.dumps(found[large]["return_value"])) <= BRIEF_BYTES
    assert (found[small]["truncated"], found[small]["kwargs"]) == (False, {"note": "short"})
    assert single.json["truncated"] is False
    assert single.json["kwargs"] == {"note": NOTE}
    assert single.json["return_value"] == NOTE[:60_000]


async def test_lists_cut_errors_and_tracebacks(serve: Any) -> None:
    async with serve(Job(id="fails", func=fails)) as ask:
        (failed,) = await runs(ask, "fails", 1, note=NOTE)
        (listed,) = (await ask("GET", "/scheduler/executions")).json["items"]
        single = (await ask("GET", f"/scheduler/executions/{failed}")).json

    assert listed["truncated"] is True
    assert len(listed["traceback"]) < 2 * BRIEF_BYTES < len(single["traceback"])


async def test_too_large_arguments_are_a_problem_that_says_what_to_do(serve: Any) -> None:
    """The log has that it was refused, and none of the arguments."""
    async with serve(Job(id="echo", func=echo)) as ask:
        before = ask.kernel.health().position
        body = {"kwargs": {"note": "x" * ARGUMENTS_LIMIT}}
        refused = await ask("POST", "/scheduler/jobs/echo/trigger", json=body)

        assert refused.status == 422
        assert refused.culprits == [("body", "kwargs")]
        assert "keep large data elsewhere" in refused.json["detail"]
        (recorded,) = await ask.kernel.events(before)
        assert recorded.type == "act_refused"
        assert len(codec.encode(recorded)) < 1000


@pytest.mark.parametrize("levels", [62, 970, 5_000, 400_000])
async def test_a_body_that_nests_too_deeply_is_refused(serve: Any, levels: int) -> None:
    async with serve(Job(id="take", func=take)) as ask:
        body = '{"kwargs":{"note":%s}}' % ("[" * levels + "]" * levels)
        headers = {"Content-Type": "application/json"}
        answer = await ask("POST", "/scheduler/jobs/take/trigger", data=body, headers=headers)

        assert answer.status == (202 if levels == 62 else 400), answer.body
        if levels > 62:
            assert answer.json["detail"] == "body: nested deeper than 64 levels: flatten it"
            assert answer.culprits == [("body", "")]
