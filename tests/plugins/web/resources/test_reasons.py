"""The reason for an act: in the query or in the body, and the same in the log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gnomon import Job


async def waits() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/scheduler/jobs/waits/pause", None),
        ("/scheduler/jobs/pause", {"ids": ["waits"]}),
        ("/scheduler/jobs/waits/skip", {"fire": None}),
        ("/scheduler/executions/RUN/cancel", None),
        ("/scheduler/executions/RUN/mark-failed", None),
        ("/scheduler/executions/cancel", {"ids": ["RUN"]}),
    ],
)
@pytest.mark.parametrize("place", ["query", "body", "both"])
async def test_the_reason_of_an_act_is_in_the_query_or_the_body(
    serve: Any, path: str, body: dict[str, Any] | None, place: str
) -> None:
    async with serve(Job(id="waits", func=waits, cron="0 0 1 1 *")) as ask:
        run = (await ask.kernel.trigger("waits")).execution.id
        path = path.replace("RUN", run)
        if body and body.get("ids") == ["RUN"]:
            body = {"ids": [run]}
        own = {"reason": "moving house"}
        sent = {**(body or {}), **(own if place != "query" else {})}
        answer = await ask("POST", path, json=sent, params=own if place != "body" else None)
        assert answer.status in {200, 202}, answer.body
        history = (await ask("GET", "/scheduler/history?limit=1")).json["history"]
        other = await ask("POST", path, json={**(body or {}), "reason": "another"}, params=own)
        loud = await ask("POST", path, json={**(body or {}), "reason": 7})
        long = await ask("POST", path, json={**(body or {}), "reason": "x" * 201})
        unknown = await ask("POST", path, json={**(body or {}), "reason": "more", "because": "why"})

    assert "moving house" in (history[0]["detail"] or "") + (history[0]["error_message"] or "")
    assert (other.status, other.culprits) == (400, [("query", "reason")])
    for refused in (loud, long):
        assert (refused.status, refused.culprits) == (422, [("body", "reason")])
    assert unknown.status == 422


async def test_the_document_describes_the_reason_in_the_body(serve: Any) -> None:
    async with serve() as ask:
        paths = (await ask("GET", "/openapi.json")).json["paths"]

    def schema(path: str) -> Any:
        return paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]

    alone, nothing = schema("/scheduler/jobs/{job_id}/pause")["anyOf"]
    assert (list(alone["properties"]), nothing) == (["reason"], {"type": "null"})
    assert {"ids", "tag", "q", "reason"} <= set(schema("/scheduler/jobs/pause")["properties"])
    assert "reason" not in str(schema("/scheduler/jobs"))
