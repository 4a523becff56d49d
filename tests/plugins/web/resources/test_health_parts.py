"""The parts of the kernel in health, metrics and the dashboard: a blocked loop, late starts, a clock that is behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gnomon import Job, hookimpl
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from gnomon_web.live import health_feed
from gnomon_web.resources import health


async def tick() -> None:
    """A job."""


def component(answer: Any, name: str) -> dict[str, Any]:
    (found,) = [one for one in answer.json["components"] if one["name"] == name]
    return dict(found)


async def test_a_blocked_loop_fails_liveness_and_names_the_run(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ANSWER_LIMIT_S", 0.3)
    go_on = threading.Event()
    answers: dict[str, Any] = {}

    async def blocks() -> None:
        go_on.wait(60)  # on the loop of the kernel, which is this test's too

    async def ask_from_another_loop(url: str) -> None:
        """Request health until the watchdog has named the run."""
        async with aiohttp.ClientSession() as client:
            while "job 'blocks'" not in str(answers.get("livez", {}).get("components")):
                for name in ("livez", "readyz"):
                    async with client.get(f"{url}/{name}") as answer:
                        answers[name], answers[f"{name} status"] = await answer.json(), answer.status

    def observe(url: str) -> None:
        try:
            asyncio.run(asyncio.wait_for(ask_from_another_loop(url), 60))
        finally:
            go_on.set()

    watched = {"blocked_loop_after": timedelta(seconds=0.2)}
    async with serve(Job(id="blocks", func=blocks), kernel=watched) as ask:
        observer = threading.Thread(target=observe, args=(ask.web.url,))
        observer.start()  # first, for nothing on this loop goes on once the body has begun
        run = (await ask.kernel.trigger("blocks")).execution.id
        await ask.kernel.wait(run)
        await asyncio.to_thread(observer.join)
        monkeypatch.setattr(health, "ANSWER_LIMIT_S", 30.0)  # a busy machine may take a while
        after = await ask("GET", "/livez")

    (kernel,) = [one for one in answers["livez"]["components"] if one["name"] == "kernel"]
    assert (answers["livez status"], answers["readyz status"]) == (503, 503)
    assert (kernel["state"], kernel["execution_id"]) == ("failed", run)
    assert run in kernel["problem"]
    assert "blocks" in kernel["problem"]
    assert after.status == 200
    loop = component(after, "loop")  # remembered for a while, but no reason to restart
    assert (loop["state"], loop["execution_id"]) == ("degraded", run)


@pytest.mark.parametrize("part", ["timetable", "journal"])
async def test_a_stalled_part_fails_liveness(serve: Any, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    async with serve(tick) as ask:
        real = ask.kernel.health()
        stalled = msgspec.structs.replace(
            real, state="degraded", stalled=[part], problems={part: f"the {part} has not made progress for 61 s"}
        )
        monkeypatch.setattr(ask.kernel, "health", lambda: stalled)
        alive, ready = await ask("GET", "/livez"), await ask("GET", "/readyz")

    assert (alive.status, ready.status) == (503, 503)
    assert component(alive, part)["state"] == "failed"
    assert "61 s" in component(ready, part)["problem"]


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ("clock", "the clock of this machine is 1:00:00 behind the newest event of the log"),
        ("starts", "starts are 3.4 s late, and the store takes 250 ms for an append"),
        ("something new", "a part that this version of the server does not know"),
    ],
)
async def test_a_problem_of_a_part_degrades_and_is_named(
    serve: Any, monkeypatch: pytest.MonkeyPatch, part: str, problem: str
) -> None:
    async with serve(tick) as ask:
        told = msgspec.structs.replace(ask.kernel.health(), state="degraded", problems={part: problem})
        monkeypatch.setattr(ask.kernel, "health", lambda: told)
        alive, ready = await ask("GET", "/livez"), await ask("GET", "/readyz")

    assert (alive.status, ready.status, ready.json["status"]) == (200, 200, "degraded")
    assert component(ready, part) | {"lag": None} == {
        "name": part,
        "state": "degraded",
        "problem": problem,
        "lag": None,
        "execution_id": None,
    }


async def test_a_slow_store_is_a_problem_of_the_store(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(tick) as ask:
        told = msgspec.structs.replace(ask.kernel.health(), problems={"store": "the store takes 1.5 s for an append"})
        monkeypatch.setattr(ask.kernel, "health", lambda: told)
        ready = await ask("GET", "/readyz")

    assert component(ready, "store")["state"] == "degraded"
    assert component(ready, "store")["problem"] == "the store takes 1.5 s for an append"


async def test_a_kernel_is_not_ready_before_every_plugin_has_started(gnomon_kernel: Callable[..., Any]) -> None:
    release = threading.Event()

    class Slow:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> Any:
            await asyncio.to_thread(release.wait, 60)
            yield

    web = WebPlugin(Config(port=0))
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(aiohttp.ClientSession())
        starting = asyncio.create_task(stack.enter_async_context(gnomon_kernel(tick, plugins=[web, Slow()])))
        while web.address is None:  # noqa: ASYNC110 - it listens on its own thread
            await asyncio.sleep(0.01)
        try:
            async with client.get(f"{web.url}/readyz") as answer:
                before, report = answer.status, await answer.json()
            async with client.get(f"{web.url}/livez") as answer:
                alive = answer.status
        finally:
            release.set()
        await starting
        async with client.get(f"{web.url}/readyz") as answer:
            after = answer.status

    assert (before, report["status"], alive) == (503, "starting", 200)
    assert {one["name"]: one["state"] for one in report["components"]}["plugin:Slow"] == "starting"
    assert after == 200


async def test_a_plugin_that_fails_is_one_component_and_leaves_the_kernel_ready(serve: Any) -> None:
    class Guard:
        problem = "its server is away"

        @hookimpl
        def guard(self, job: Job, scheduled_time: datetime) -> None: ...

    async with serve(tick, plugins=[Guard()]) as ask:
        alive, ready = await ask("GET", "/livez"), await ask("GET", "/readyz")

    assert (alive.status, ready.status, ready.json["status"]) == (200, 200, "degraded")
    (found,) = [one for one in ready.json["components"] if "Guard" in one["name"]]
    assert (found["name"], found["state"], found["problem"]) == ("plugin:Guard", "degraded", "its server is away")


async def test_a_kernel_that_stops_is_not_ready_from_the_first_moment_on(gnomon_kernel: Callable[..., Any]) -> None:
    go_on, has_begun = asyncio.Event(), asyncio.Event()

    async def long() -> None:
        has_begun.set()
        await go_on.wait()

    web = WebPlugin(Config(port=0))
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(aiohttp.ClientSession())
        kernel = await stack.enter_async_context(gnomon_kernel(long, plugins=[web], drain=timedelta(minutes=1)))
        await kernel.trigger("long")
        await has_begun.wait()
        assert not kernel.health().is_stopping
        async with client.get(f"{web.url}/readyz") as answer:
            assert answer.status == 200
        stopping = asyncio.create_task(stack.aclose())
        while not kernel.health().is_stopping:  # noqa: ASYNC110 - the stop takes its first step when this task waits
            await asyncio.sleep(0)
        async with client.get(f"{web.url}/readyz") as answer:
            ready, report = answer.status, await answer.json()
        async with client.get(f"{web.url}/livez") as answer:
            alive = answer.status
        go_on.set()
        await stopping

    assert (ready, report["status"], report["running"], alive) == (503, "stopping", False, 200)
    (stop,) = [one for one in report["components"] if one["name"] == "stop"]
    assert "waits for running bodies" in stop["problem"]


async def test_metrics_have_lateness_append_time_stalls_and_parts(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(tick) as ask:
        told = msgspec.structs.replace(
            ask.kernel.health(),
            lateness_s=3.4,
            append_s=0.25,
            loop_stalls=2,
            loop_stalled_s=7.5,
            clock_behind_s=61.0,
            problems={"starts": "late"},
        )
        monkeypatch.setattr(ask.kernel, "health", lambda: told)
        text = (await ask("GET", "/metrics")).body.decode()

    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["gnomon_start_lateness_seconds",] == 3.4
    assert found["gnomon_store_append_seconds",] == 0.25
    assert found["gnomon_loop_stalls_total",] == 2
    assert found["gnomon_loop_stalled_seconds_total",] == 7.5
    assert found["gnomon_clock_behind_seconds",] == 61
    assert found["gnomon_component_up", "starts"] == 0
    assert found["gnomon_component_up", "timetable"] == 1


async def test_a_dashboard_is_sent_the_health_when_it_changes(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_feed, "POLL_S", 0.01)
    async with (
        serve(tick) as ask,
        ask.client.ws_connect(f"{ask.web.url}/ws/live", protocols=["gnomon.live.v1"]) as page,
    ):
        await page.send_json({"t": "hello"})
        snapshot = await asyncio.wait_for(page.receive_json(), 60)
        told = msgspec.structs.replace(ask.kernel.health(), problems={"clock": "an hour behind"})
        monkeypatch.setattr(ask.kernel, "health", lambda: told)
        frames = [await asyncio.wait_for(page.receive_json(), 60)]
        while frames[-1]["t"] != "health":
            frames.append(await asyncio.wait_for(page.receive_json(), 60))

    assert snapshot["health"]["status"] == "ok"
    assert frames[-1]["health"]["status"] == "degraded"
