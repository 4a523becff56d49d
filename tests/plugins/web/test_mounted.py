"""The server as a part of another aiohttp application: its prefix, its WebSockets, its logins, its life."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import gnomon_web
from gnomon import BackgroundKernel, GnomonError, Job, Kernel
from gnomon.conversion import Secret
from gnomon_sqlite import SqliteStore
from gnomon_web import Config, Token

SECRET = "Zq8v-3rWk-X5tL-of-the-operator"
CONFIG = Config(tokens=[Token("ops", "operator", Secret(SECRET))])
BEARER = {"Authorization": f"Bearer {SECRET}"}
Client = TestClient[web.Request, web.Application]


def double(number: int = 1) -> int:
    return 2 * number


def make(tmp_path: Path, role: Any = "auto") -> Kernel:
    return Kernel(store=SqliteStore(tmp_path / "log.db"), role=role, jobs=[Job(id="double", func=double)])


def embedding(kernel: Kernel, prefix: str = "/gnomon", config: Config | None = CONFIG) -> web.Application:
    async def run_kernel(_: web.Application) -> AsyncIterator[None]:
        async with kernel:
            yield

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    main = web.Application()
    main.cleanup_ctx.append(run_kernel)
    main.router.add_get("/", hello)
    main.add_subapp(prefix, gnomon_web.app(kernel, config))
    return main


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with TestClient(TestServer(embedding(make(tmp_path)))) as client:
        yield client


async def test_the_api_answers_below_the_prefix_with_the_roles_of_the_config(client: Client) -> None:
    assert await (await client.get("/")).text() == "hello"
    assert (await client.get("/gnomon/livez")).status == 200
    assert (await client.get("/gnomon/scheduler/jobs")).status == 401
    jobs = await (await client.get("/gnomon/scheduler/jobs", headers=BEARER)).json()
    assert [job["id"] for job in jobs] == ["double"]
    assert (await client.get("/gnomon/nosuch")).content_type == "application/problem+json"
    assert (await client.get("/livez")).status == 404


async def test_the_dashboard_its_files_and_the_document_have_the_prefix(client: Client) -> None:
    page = await (await client.get("/gnomon/")).text()
    document = await (await client.get("/gnomon/openapi.json", headers=BEARER)).json()

    assert 'src="/gnomon/ui/' in page
    files = [part.partition('"')[0] for part in page.split('"/gnomon/ui/')[1:]]
    assert {(await client.get(f"/gnomon/ui/{file}")).status for file in files} == {200}
    assert all(path.startswith("/gnomon/") for path in document["paths"])


async def test_a_trigger_gives_the_address_of_its_run_and_the_name_of_the_token(client: Client) -> None:
    answer = await client.post("/gnomon/scheduler/jobs/double/trigger", json={}, headers=BEARER)

    assert answer.status in {200, 201, 202}
    assert answer.headers["Location"].startswith("/gnomon/scheduler/executions/")
    run = await (await client.get(answer.headers["Location"], headers=BEARER)).json()
    assert run["actor"] == "ops"


async def test_a_login_by_cookie_holds_below_the_prefix(client: Client) -> None:
    origin = {"Origin": f"http://{client.host}:{client.port}"}
    login = await client.post("/gnomon/login", json={"token": SECRET}, headers=origin)

    assert login.status < 300, await login.text()
    assert (await client.get("/gnomon/scheduler/jobs")).status == 200


async def test_a_websocket_sees_the_runs_of_the_kernel(client: Client) -> None:
    async with client.ws_connect("/gnomon/ws/events", headers=BEARER) as socket:
        answer = await client.post("/gnomon/scheduler/jobs/double/trigger", json={}, headers=BEARER)
        execution_id = answer.headers["Location"].rpartition("/")[2]
        seen: list[Any] = []
        while "succeeded" not in str(seen):
            seen.append(await socket.receive_json(timeout=60))

    assert execution_id in str(seen)


async def test_the_metrics_count_from_the_events_of_the_kernel(client: Client, tmp_path: Path) -> None:
    await client.post("/gnomon/scheduler/jobs/double/trigger", json={}, headers=BEARER)
    async with client.ws_connect("/gnomon/ws/events?after=0", headers=BEARER) as socket:
        while '"succeeded"' not in await socket.receive_str(timeout=60):
            pass
    while True:  # the plugin of the server comes after the store
        text = await (await client.get("/gnomon/metrics", headers=BEARER)).text()
        if 'gnomon_executions_total{job="double",status="success"} 1.0' in text:
            return


async def test_an_open_websocket_does_not_hold_up_the_end_and_the_plugin_is_gone(tmp_path: Path) -> None:
    async with make(tmp_path) as kernel:
        main = web.Application()
        main.add_subapp("/ops/", gnomon_web.app(kernel, CONFIG))
        async with TestClient(TestServer(main)) as client:
            assert [plugin.name for plugin in kernel.plugins] == ["web"]
            socket = await client.ws_connect("/ops/ws/events", headers=BEARER)
        assert (await socket.receive(timeout=60)).type is not aiohttp.WSMsgType.ERROR
        assert not list(kernel.plugins)
        assert kernel.health().plugins == []


async def test_a_nested_application_has_the_whole_prefix(tmp_path: Path) -> None:
    async with make(tmp_path) as kernel:
        inner, main = web.Application(), web.Application()
        inner.add_subapp("/scheduler", gnomon_web.app(kernel, CONFIG))
        main.add_subapp("/admin", inner)
        async with TestClient(TestServer(main)) as client:
            assert 'src="/admin/scheduler/ui/' in await (await client.get("/admin/scheduler/")).text()


async def test_a_kernel_in_the_background_is_served_too(tmp_path: Path) -> None:
    jobs = [Job(id="double", func=double)]
    with BackgroundKernel(store=SqliteStore(tmp_path / "log.db"), jobs=jobs) as kernel:
        main = web.Application()
        main.add_subapp("/gnomon", gnomon_web.app(kernel, CONFIG))
        async with TestClient(TestServer(main)) as client:
            answer = await client.post("/gnomon/scheduler/jobs/double/trigger", json={}, headers=BEARER)
            assert answer.status in {200, 201, 202}


async def test_an_application_without_a_running_kernel_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    main = web.Application()
    main.add_subapp("/gnomon", gnomon_web.app(make(tmp_path), CONFIG))

    with pytest.raises(GnomonError, match="the kernel is not running, so it cannot be served: start it before"):
        await TestServer(main).start_server()


async def test_without_tokens_other_machines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with TestClient(TestServer(embedding(make(tmp_path), config=None))) as client:
        assert (await client.get("/gnomon/scheduler/jobs")).status == 200
        monkeypatch.setattr(web.Request, "remote", "203.0.113.9")
        refused = await client.get("/gnomon/scheduler/jobs")
        assert refused.status == 403
        assert "serves this machine only" in (await refused.json())["detail"]


async def test_a_login_counts_in_every_process_in_which_the_server_is_mounted(tmp_path: Path) -> None:
    async with (
        TestClient(TestServer(embedding(make(tmp_path, "leader"))), cookie_jar=aiohttp.DummyCookieJar()) as leading,
        TestClient(TestServer(embedding(make(tmp_path, "follower"))), cookie_jar=aiohttp.DummyCookieJar()) as following,
    ):
        for here, there in ((leading, following), (following, leading)):
            login = await here.post("/gnomon/login", json={"token": SECRET})
            cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0]}
            origin = {"Origin": f"http://{there.host}:{there.port}"}
            reads = [(await one.get("/gnomon/scheduler/jobs", headers=cookie)).status for one in (here, there)]
            socket = await there.ws_connect("/gnomon/ws/events?after=0", headers=cookie | origin)
            await socket.receive_json()
            logout = await here.post("/gnomon/logout", headers=cookie | {"Origin": f"http://{here.host}:{here.port}"})
            after = [(await one.get("/gnomon/scheduler/jobs", headers=cookie)).status for one in (here, there)]
            async for _ in socket:
                pass

            assert (reads, logout.status, after, socket.close_code) == ([200, 200], 200, [401, 401], 4401)
