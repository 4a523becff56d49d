"""The client against the server, also over connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gnomon import (
    Context,
    ExecutionOverError,
    ExecutionQuery,
    Job,
    JobError,
    Kernel,
    UnknownExecutionError,
    UnknownJobError,
)
from gnomon.cli.access import remote as remote_kernel
from gnomon.client import Client, ClientError, NoServerError, NotAllowedError, patience
from gnomon.clock import SystemClock
from gnomon.domain.records import ActionQuery
from gnomon.errors import ParameterError
from gnomon_stats import StatsPlugin
from proxies import proxied

Serve = Callable[..., AbstractAsyncContextManager[Any]]
SOON = timedelta(seconds=60)


def broken() -> None:
    raise ValueError("no such table")


async def told(ctx: Context, rows: int = 2) -> dict[str, int]:
    ctx.step("fetch")
    ctx.progress(50, "half way", processed_items=1, total_items=rows)
    return {"rows": rows}


def job(body: Callable[..., Any], job_id: str = "job", **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": job_id, "func": body, **policies}
    return Job(**keys)


@pytest.mark.parametrize("config", [{}, {"envelope": True, "base_path": "/api"}])
async def test_what_the_client_returns_is_what_the_kernel_has(serve: Serve, config: dict[str, Any]) -> None:
    async with (
        serve(job(told, name="Prices", steps=["fetch"]), job(broken, "broken"), **config) as ask,
        Client(ask.web.url) as client,
    ):
        good = await client.trigger("job", kwargs={"rows": 7})
        bad = await client.trigger("broken", force=True)

        for triggered, status in ((good, "success"), (bad, "failed")):
            ended = await client.wait(triggered.execution.id)
            assert ended.status == status
            assert ended == await ask.kernel.execution(ended.id)
            assert await client.history(ended.id) == await ask.kernel.history(ended.id)
        page = await client.executions(status=("failed",), limit=1, is_manual=True, text="table")
        kernels = await ask.kernel.executions(ExecutionQuery(status=("failed",)))
        assert (page.items, page.total) == ([kernels.items[0]], 1)
        assert [one.id for one in await client.jobs()] == ["broken", "job"]
        assert (await client.job("job")).func.endswith("told")
        assert await client.actions() == await ask.kernel.actions(ActionQuery())
        assert await client.actions(job_id="job") == await ask.kernel.actions(ActionQuery(job_id="job"))
        with pytest.raises(UnknownJobError, match="did you mean 'job'"):
            await client.actions(job_id="jab")


async def test_the_client_waits_for_the_run_that_takes_the_place_of_a_snoozed_one(serve: Serve) -> None:
    async def body(ctx: Context) -> int:
        if ctx.snoozes < 2:
            ctx.snooze("20ms")
        return ctx.snoozes

    async with serve(job(body), kernel={"clock": SystemClock()}) as ask, Client(ask.web.url) as client:
        first = (await client.trigger("job")).execution
        ended = await client.wait(first.id)
        begun = await client.execution(first.id)

        assert (ended.status, ended.return_value, ended.snoozes) == ("success", 2, 2)
        assert begun == await ask.kernel.execution(first.id)
        assert (begun.status, begun.is_snoozed) == ("cancelled", True)


@pytest.mark.parametrize("plugins", [[], [StatsPlugin()]], ids=["the store", "the plugin stats"])
async def test_the_client_returns_the_servers_statistics(serve: Serve, plugins: list[StatsPlugin]) -> None:
    async with serve(job(told), plugins=plugins) as ask, Client(ask.web.url) as client:
        await client.wait((await client.trigger("job")).execution.id)
        async with asyncio.timeout(60):
            while not (found := await client.statistics("job")).success:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the plugin counts on its own thread
        today = await client.today()

        assert (found.total, found.success, found.success_rate) == (1, 1, 1.0)
        assert (today.day, today.success) == (ask.kernel.clock.now().date(), 1)
        for plugin in plugins:
            assert msgspec.to_builtins(found) == msgspec.to_builtins(plugin.of_job("job"))
        if not plugins:
            assert (found.p50, found.by_day, found.streak) == (None, None, None)


async def test_the_client_returns_statistics_by_label(serve: Serve) -> None:
    plugin = StatsPlugin()
    async with serve(job(told), plugins=[plugin]) as ask, Client(ask.web.url) as client:
        await client.wait((await client.trigger("job", labels={"tenant": "7 & 8"})).execution.id)
        async with asyncio.timeout(60):
            while plugin.position < ask.kernel.health().position:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the plugin counts on its own thread
        found, one = await client.label_statistics("tenant"), await client.label_statistics("tenant", value="7 & 8")

        assert [(value.value, value.success) for value in found.values] == [("7 & 8", 1)]
        assert one == found == plugin.of_label("tenant")
        assert await client.labels() == plugin.labels()


async def test_the_command_line_says_where_a_kernel_does_not_count_by_label(serve: Serve) -> None:
    async with serve(job(told)) as ask, remote_kernel.RemoteKernel(ask.web.url) as elsewhere:
        with pytest.raises(ClientError, match=r"does not count by label: enable the plugin stats there"):
            await elsewhere.label_statistics("tenant", None)


async def test_the_command_line_reads_lists_that_are_longer_than_a_page(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_kernel, "PAGE_SIZE", 2)
    async with serve(job(told)) as ask, remote_kernel.RemoteKernel(ask.web.url) as elsewhere:
        for _ in range(5):
            await ask.kernel.wait((await ask.kernel.trigger("job")).execution.id)
        for limit in (1, 2, 4, 5, 9):
            query = ExecutionQuery(job_id="job", limit=limit)
            first = await elsewhere.executions(query)
            assert first == await ask.kernel.executions(query)
            acts = ActionQuery(limit=limit, offset=1)
            assert await elsewhere.actions(acts) == await ask.kernel.actions(acts)
        newest = await elsewhere.executions(ExecutionQuery(limit=3))
        rest = await elsewhere.executions(ExecutionQuery(limit=3, cursor=newest.next))

        assert (len(rest.items), rest.next) == (2, None)


async def test_jobs_are_paused_and_resumed_with_a_reason_and_runs_cancelled(serve: Serve, gnomon_clock: Any) -> None:
    async def slow() -> None:
        await gnomon_clock.sleep(60)

    async with serve(job(slow)) as ask, Client(ask.web.url) as client:
        assert (await client.pause("job", reason="holidays")).paused_reason == "holidays"
        assert (await client.trigger("job", resume=False)).resumed is False
        assert not (await client.resume("job")).paused
        waiting = (await client.trigger("job")).execution.id

        (running,) = (await ask.kernel.job("job")).running
        functions = [frame.function for frame in (await client.sample(running)).stacks[0].frames]
        cancelled = await client.cancel(waiting, reason="not today")

        assert functions[0].endswith("slow")

        assert (cancelled.status, cancelled.reason) == ("cancelled", "not today")
        with pytest.raises(ExecutionOverError, match=f"execution {waiting} has already ended .cancelled."):
            await client.cancel(waiting)


async def test_the_client_raises_the_kernels_own_errors(serve: Serve) -> None:
    async with serve(job(told)) as ask, Client(ask.web.url) as client:
        with pytest.raises(UnknownJobError, match="there is no job 'jab'; did you mean 'job'") as caught:
            await client.trigger("jab")
        assert caught.value.job_id == "jab"
        with pytest.raises(JobError, match="rowss"):
            await client.trigger("job", kwargs={"rowss": 7})
        with pytest.raises(UnknownExecutionError):
            await client.execution("0" * 24)
        with pytest.raises(UnknownJobError):
            await client.job("a/b?c=d#e")
        with pytest.raises(ClientError, match="no execution and no job"):
            await anext(client.follow("nobody"))


@pytest.mark.parametrize(
    ("kwargs", "problem"),
    [
        ({"rows": float("nan")}, "kwargs.rows: JSON has no nan, which would arrive as null"),
        ({"rows": [1, {"x": float("inf")}]}, r"kwargs.rows\[1\].x: JSON has no inf"),
        ({"name": "\ud800"}, "kwargs.name: has half a character"),
        ({"\ud800": 1}, "kwargs: the key .* has half a character"),
        ({"rows": object()}, "kwargs.rows: JSON has nothing for an object of type object"),
    ],
)
async def test_what_json_does_not_have_is_refused_before_it_is_sent(
    kwargs: dict[str, Any], problem: str, serve: Serve
) -> None:
    async with serve(job(told)) as ask, Client(ask.web.url) as client:
        with pytest.raises(ParameterError, match=problem):
            await client.trigger("job", kwargs=kwargs)
        with pytest.raises(UnknownJobError):
            await client.job("\ud800")


async def test_a_refused_client_gets_the_reason(serve: Serve, secrets: dict[str, str]) -> None:
    async with serve(job(told), guarded=True) as ask:
        for token, problem in (
            (None, "requires a token"),
            ("x" * 20, "does not accept this token"),
            (secrets["viewer"], "this call requires the role operator; 'viewer' has the role viewer"),
        ):
            async with Client(ask.web.url, token=token) as client:
                with pytest.raises(NotAllowedError, match=problem):
                    await client.trigger("job")
        async with Client(ask.web.url) as client:
            with pytest.raises(NotAllowedError):
                await anext(client.follow("job"))
        async with Client(ask.web.url, token=secrets["operator"]) as client:
            assert (await client.trigger("job")).execution.actor == "operator"


async def test_a_server_that_never_answered_is_not_awaited() -> None:
    async with Client("http://127.0.0.1:9", patience=timedelta(hours=1)) as client:
        with pytest.raises(NoServerError, match=r"no kernel answers at http://127.0.0.1:9 \(Connection refused\)"):
            await client.jobs()
        with pytest.raises(NoServerError):
            await anext(client.follow("job"))


async def test_a_self_signed_certificate_is_not_trusted(serve: Serve, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    async with serve(job(told), tls_cert=cert, tls_key=key) as ask, Client(ask.web.url) as client:
        with pytest.raises(NoServerError, match=r"its certificate is not trusted: .*self-signed"):
            await client.jobs()
        with pytest.raises(NoServerError, match="its certificate is not trusted"):
            await anext(client.follow("job"))


async def test_another_web_server_is_not_taken_for_a_kernel() -> None:
    async def other(_: web.Request) -> web.Response:
        return web.Response(text="<h1>It works!</h1>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/scheduler/jobs", other)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with Client(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            with pytest.raises(ClientError, match="does not look like a Gnomon server: it answered 200 text/html"):
                await client.jobs()
            with pytest.raises(ClientError, match="does not look like a Gnomon server: it answered 404 text/plain"):
                await client.job("job")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://gnomon", "http://", "http://a:b@gnomon", "http://x/?y"])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="is not the address of a kernel"):
        Client(url)


async def test_a_trigger_whose_answer_is_lost_is_repeated_and_makes_one_run(serve: Serve) -> None:
    async with serve(job(told)) as ask, proxied(ask.web.url) as proxy:
        proxy.answers_to_swallow = 2
        async with Client(f"http://127.0.0.1:{proxy.port}", patience=SOON) as client:
            triggered = await client.trigger("job")

        assert proxy.connections == 3
        assert not triggered.is_new
        assert [one.id for one in (await ask.kernel.executions(ExecutionQuery())).items] == [triggered.execution.id]


async def test_two_triggers_make_two_runs(serve: Serve) -> None:
    async with serve(job(told)) as ask, Client(ask.web.url) as client:
        assert (await client.trigger("job")).is_new
        assert (await client.trigger("job")).is_new
        keyed = [await client.trigger("job", idempotency_key="k") for _ in range(2)]

        assert [one.is_new for one in keyed] == [True, False]
        assert (await ask.kernel.executions(ExecutionQuery())).total == 3


async def test_a_server_that_stays_away_exhausts_the_patience(serve: Serve) -> None:
    async with serve(job(told)) as ask, Client(ask.web.url, patience=timedelta(seconds=0.3)) as client:
        await client.jobs()
        url = ask.web.url
        following = client.follow("job")
        await anext(following)
        leaving = asyncio.create_task(_leave(ask))
        await leaving
        with pytest.raises(NoServerError, match=url):
            await anext(following)
        with pytest.raises(NoServerError):
            await client.jobs()


async def _leave(ask: Any) -> None:
    kernel: Kernel = ask.kernel
    await kernel.__aexit__(None, None, None)


async def test_pauses_have_jitter_and_end_with_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = 0.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        pauses.append(seconds)

    monkeypatch.setattr(patience, "sleep", sleep)
    monkeypatch.setattr(patience, "monotonic", lambda: now)
    waiting, failure = patience.Patience(60.0), NoServerError("http://gnomon", "gone")

    async def wait_for_ever() -> None:
        while True:
            await waiting.pause(failure)

    with pytest.raises(NoServerError) as caught:
        await wait_for_ever()

    assert caught.value is failure
    assert sum(pauses) == pytest.approx(60.0)
    longest = [min(patience.FIRST_S * 2**n, patience.LONGEST_S) for n in range(len(pauses))]
    assert all(pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len(set(pauses)) > 5, "they are drawn"
    waiting.succeeded()
    await waiting.pause(failure)
    assert pauses[-1] <= patience.FIRST_S
