"""The command line defines jobs of a kernel elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon import ConfigError, Job, UnknownJobError
from gnomon.cli.access.remote import RemoteKernel
from gnomon.domain.job_order import JobOrder

HERE = f"{__name__}:"
KEYS = {"id": "nightly", "func": f"{HERE}sync", "cron": "0 3 * * *"}


async def sync(market: str = "cn") -> None: ...


def order(how: Any, **more: Any) -> JobOrder:
    return JobOrder(how=how, job_id="nightly", **more)


async def test_orders_reach_a_kernel_elsewhere(serve: Any) -> None:
    act = {"reason": None, "idempotency_key": None}
    async with (
        serve(Job(id="own", func=sync, paused=True), kernel={"allow_functions": [f"{HERE}*"]}) as ask,
        RemoteKernel(ask.web.url) as kernel,
    ):
        preview = await kernel.preview_job(KEYS)
        added = await kernel.order_job(order("add", keys=KEYS, owner="me"), **act)
        changed = await kernel.order_job(order("change", keys={"every": "1h"}, expect_version=1), **act)
        shown = await kernel.job("nightly")
        replaced = await kernel.order_job(order("replace", keys=KEYS), **act)
        with pytest.raises(ConfigError) as caught:
            await kernel.order_job(order("replace", keys=KEYS | {"cron": "x", "retyr": 1}), **act)
        removed = await kernel.order_job(order("remove"), **act)
        with pytest.raises(UnknownJobError):
            await kernel.job("nightly")
        pauses = [await kernel.pause_of(job_id) for job_id in ("own", "nightly")]

    assert preview.ok
    assert [one.version for one in (added, changed, replaced, removed)] == [1, 2, 3, 4]
    assert (shown.owner, shown.definition["every"]) == ("me", "1h")
    assert {problem.partition(": ")[0] for problem in caught.value.problems} == {"cron", "retyr"}
    assert [pause is not None for pause in pauses] == [True, False]
