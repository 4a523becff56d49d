"""The states of all jobs in a few bytes each."""

from __future__ import annotations

import asyncio
from typing import Any

from gnomon import Job


async def test_every_job_is_a_line_with_what_a_filter_needs(serve: Any) -> None:
    gate = asyncio.Event()

    async def waits() -> None:
        await gate.wait()

    async def fails() -> None:
        raise ValueError

    jobs = [Job(id="a", func=waits, name="Alpha", tags=["red"]), Job(id="b", func=fails), Job(id="c", func=fails)]
    async with serve(*jobs) as ask:
        await ask.kernel.trigger("a")
        await ask.kernel.wait((await ask.kernel.trigger("b")).execution.id)
        await ask.kernel.pause("c")
        await ask.kernel.describe("c", display_name="Gamma")
        answer = await ask("GET", "/scheduler/job-states")
        gate.set()

    assert answer.json["jobs"] == [
        {"id": "a", "name": "Alpha", "tags": ["red"], "running": 1, "last": "running"},
        {"id": "b", "last": "failed"},
        {"id": "c", "name": "Gamma", "paused": True},
    ]
    assert answer.json["position"] > 0
