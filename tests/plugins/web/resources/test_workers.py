"""The workers elsewhere and their queues over HTTP, and as metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from elsewhere_runner import Elsewhere, ElsewherePlugin, job_elsewhere, trigger_elsewhere
from gnomon import QueueState, WorkerState, WorkerView
from gnomon.client import Client
from gnomon.conversion import Secret
from gnomon_web.auth.tokens import Token

VIEWER, LIMITED = "viewer-Xk29fLq8Zt41vR7mQw", "limited-Pm83dHs6Yc05bN2kUj"
SEEN = datetime(2026, 1, 1, tzinfo=UTC)


def two_workers() -> WorkerView:
    version = {"gnomon": "1.2.3"}
    online = WorkerState(
        name="a",
        node="n1",
        pid=7,
        pool="prefork",
        concurrency=4,
        active=3,
        queues=["mails"],
        versions=version,
        seen=SEEN,
    )
    return WorkerView(
        workers=[online, WorkerState(name="b", state="gone", concurrency=4, active=4)],
        queues=[QueueState(name="mails", workers=1, length=5)],
    )


async def scrape(ask: Any) -> dict[tuple[str, ...], float]:
    text = (await ask("GET", "/metrics")).body.decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_workers_and_queues_are_listed(serve: Any) -> None:
    elsewhere = Elsewhere()
    elsewhere.view = two_workers()
    async with serve(job_elsewhere("mail", "mails"), plugins=[ElsewherePlugin(elsewhere)]) as ask:
        await trigger_elsewhere(ask.kernel, elsewhere, "mail")

        answer = await ask("GET", "/scheduler/workers")

        async with Client(ask.web.url) as client:
            assert await client.workers() == await ask.kernel.workers()

    assert answer.status == 200
    assert answer.json["problems"] == []
    online, gone = answer.json["workers"]
    assert (online["name"], online["runner"], online["state"], online["pid"]) == ("a", "elsewhere", "online", 7)
    assert (online["concurrency"], online["active"], online["queues"]) == (4, 3, ["mails"])
    assert (online["versions"], online["seen"]) == ({"gnomon": "1.2.3"}, "2026-01-01T00:00:00Z")
    assert (gone["name"], gone["state"]) == ("b", "gone")
    (queue,) = answer.json["queues"]
    assert (queue["name"], queue["workers"], queue["length"], queue["waiting"]) == ("mails", 1, 5, 1)
    assert queue["oldest"] is not None


async def test_a_token_that_is_limited_to_some_jobs_cannot_list_them(serve: Any) -> None:
    tokens = [
        Token(name="viewer", token=Secret(VIEWER), role="viewer"),
        Token(name="limited", token=Secret(LIMITED), role="viewer", jobs=["reports.*"]),
    ]
    async with serve(tokens=tokens) as ask:
        allowed = await ask("GET", "/scheduler/workers", headers={"Authorization": f"Bearer {VIEWER}"})
        refused = await ask("GET", "/scheduler/workers", headers={"Authorization": f"Bearer {LIMITED}"})

    assert (allowed.status, allowed.json) == (200, {"workers": [], "queues": [], "problems": []})
    assert refused.status == 403


async def test_metrics_have_workers_queues_and_the_time_in_them(serve: Any, gnomon_clock: Any) -> None:
    elsewhere = Elsewhere()
    elsewhere.view = two_workers()
    async with serve(job_elsewhere("mail", "mails"), plugins=[ElsewherePlugin(elsewhere)]) as ask:
        begun = await trigger_elsewhere(ask.kernel, elsewhere, "mail")
        await trigger_elsewhere(ask.kernel, elsewhere, "mail")
        await gnomon_clock.advance(20)
        elsewhere.begin(begun, gnomon_clock.now())
        await gnomon_clock.advance(10)
        found = await scrape(ask)

    assert found["gnomon_workers", "elsewhere", "online"] == 1
    assert found["gnomon_workers", "elsewhere", "stopping"] == 0
    assert found["gnomon_workers", "elsewhere", "gone"] == 1
    assert (found["gnomon_workers_active", "elsewhere"], found["gnomon_workers_concurrency", "elsewhere"]) == (3, 4)
    assert found["gnomon_queue_length", "mails", "elsewhere"] == 5
    assert found["gnomon_queue_workers", "mails", "elsewhere"] == 1
    assert found["gnomon_queue_waiting", "mails", "elsewhere"] == 1
    assert found["gnomon_queue_oldest_seconds", "mails", "elsewhere"] == 30
    assert (found["gnomon_hand_over_seconds_count", "mail"], found["gnomon_hand_over_seconds_sum", "mail"]) == (2, 0)
    assert (found["gnomon_queued_seconds_count", "mail"], found["gnomon_queued_seconds_sum", "mail"]) == (1, 20)
    assert found["gnomon_lateness_seconds_sum", "mail"] == 20


async def test_metrics_say_nothing_about_workers_where_there_are_none(serve: Any) -> None:
    async with serve(job_elsewhere("mail", "mails"), plugins=[ElsewherePlugin(Elsewhere())]) as ask:
        names = {labels[0] for labels in await scrape(ask)}

    assert {name for name in names if name.startswith(("gnomon_workers", "gnomon_queue_"))} == set()
