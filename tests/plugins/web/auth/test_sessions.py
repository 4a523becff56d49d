"""Logins: across restarts, their end, and the tokens that a reload replaces."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon import GnomonError, Kernel, hookimpl
from gnomon.conversion import Secret
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.deployment.kernel_factory import build_kernel
from gnomon.deployment.reload import Reloader
from gnomon.stores.memory import MemoryStore
from gnomon_sqlite.store import SqliteStore
from gnomon_web.auth import sessions
from gnomon_web.auth.session_key import FILE_NAME
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config

OPS = "w4rm-Stone.Casts9"


async def tick() -> None:
    """A job."""


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """Return the options of a kernel on the same SQLite log."""
    return lambda: {"store": SqliteStore(tmp_path / "gnomon.db")}


async def reads(ask: Any, browser: dict[str, str]) -> int:
    return int((await ask("GET", "/scheduler/jobs", headers={"Cookie": browser["Cookie"]})).status)


async def test_logins_survive_a_restart_and_logouts_too(serve: Any, log: Any) -> None:
    async with serve(tick, guarded=True, kernel=log()) as ask:
        kept, ended = await ask.log_in("viewer"), await ask.log_in("viewer")
        await ask("POST", "/logout", headers=ended)
    async with serve(tick, guarded=True, kernel=log()) as ask:
        statuses = [await reads(ask, browser) for browser in (kept, ended)]

    assert statuses == [200, 401]


async def test_the_key_is_beside_the_log_and_only_its_owner_reads_it(serve: Any, log: Any, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with serve(tick, guarded=True, kernel=log()):
            pass
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


async def test_state_dir_is_another_place_for_the_key(serve: Any, log: Any, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "web"
    async with serve(tick, guarded=True, kernel=log(), state_dir=folder):
        pass

    assert (folder / FILE_NAME).exists()
    assert not (tmp_path / FILE_NAME).exists()


async def test_a_state_dir_that_others_may_write_is_a_warning(
    serve: Any, log: Any, tmp_path: Path, logged: list[Any]
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    async with serve(tick, kernel=log(), state_dir=folder):
        pass

    warned = [line["problem"] for line in logged if "could replace the key of logins" in line["event"]]
    assert warned == [f"{folder} can be changed by every user"]


@pytest.mark.parametrize("damage", ["readable", "short", "missing"])
async def test_an_unsafe_key_is_replaced_and_all_logins_end(
    serve: Any, log: Any, tmp_path: Path, damage: str, logged: list[Any]
) -> None:
    key = tmp_path / FILE_NAME
    async with serve(tick, guarded=True, kernel=log()) as ask:
        browser = await ask.log_in("viewer")
    before = key.read_bytes()
    if damage == "readable":
        key.chmod(0o640)
    elif damage == "short":
        key.write_bytes(b"short")
    else:
        key.unlink()
    async with serve(tick, guarded=True, kernel=log()) as ask:
        status = await reads(ask, browser)

    assert status == 401
    assert (len(key.read_bytes()), stat.S_IMODE(key.stat().st_mode)) == (32, 0o600)
    assert key.read_bytes() != before
    assert bool([line for line in logged if "ends all logins" in line["event"]]) is (damage != "missing")


async def test_a_link_in_the_place_of_the_key_is_not_followed(
    serve: Any, log: Any, tmp_path: Path, logged: list[Any]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"v" * 32)
    victim.chmod(0o600)
    (tmp_path / FILE_NAME).symlink_to(victim)
    async with serve(tick, guarded=True, kernel=log()) as ask:
        status = await reads(ask, await ask.log_in("viewer"))

    assert status == 200
    assert victim.read_bytes() == b"v" * 32
    assert [line["path"] for line in logged if "logins will end with this process" in line["event"]]


async def test_a_login_of_another_log_with_the_same_key_is_refused(serve: Any, tmp_path: Path) -> None:
    def options(name: str) -> dict[str, Any]:
        return {"kernel": {"store": SqliteStore(tmp_path / name)}, "state_dir": tmp_path}

    async with serve(tick, guarded=True, **options("a.db")) as ask:
        browser = await ask.log_in("viewer")
        here = await reads(ask, browser)
    async with serve(tick, guarded=True, **options("b.db")) as ask:
        there = await reads(ask, browser)

    assert (here, there) == (200, 401)


@pytest.mark.parametrize("value", ["", "x", "gnomon-session.", "gnomon-session.a.b", "gnomon-session.\udce9.\udce9"])
async def test_forged_logins_are_refused(serve: Any, value: str) -> None:
    async with serve(tick, guarded=True) as ask:
        name = (await ask.log_in("admin"))["Cookie"].partition("=")[0]
        cookie = f"{name}={value}".encode("utf-8", "surrogateescape").decode("latin-1")
        by_cookie = await ask("GET", "/scheduler/jobs", headers={"Cookie": cookie})
        bearer = f"Bearer {value}".encode("utf-8", "surrogateescape").decode("latin-1")
        by_bearer = await ask("GET", "/scheduler/jobs", headers={"Authorization": bearer})

    assert (by_cookie.status, by_bearer.status) == (401, 401)


async def test_an_id_without_the_key_is_not_a_login(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        name, _, value = (await ask.log_in("admin"))["Cookie"].partition("=")
        listed = (await ask("GET", "/sessions", as_="admin")).json
        forged = f"{name}=gnomon-session.{listed[0]['id']}.{'0' * 64}"

        assert value.split(".")[1] == listed[0]["id"]
        assert await reads(ask, {"Cookie": forged}) == 401


async def test_the_admin_lists_logins_and_ends_them(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        one, two, other = [await ask.log_in(role) for role in ("viewer", "viewer", "operator")]
        listed = (await ask("GET", "/sessions", as_="admin")).json
        first = next(entry for entry in reversed(listed) if entry["name"] == "viewer")
        ended = await ask("DELETE", f"/sessions/{first['id']}", as_="admin")
        again = await ask("DELETE", f"/sessions/{first['id']}", as_="admin")
        after_one = [await reads(ask, browser) for browser in (one, two, other)]
        rest = await ask("DELETE", "/sessions?name=viewer", as_="admin")
        after_all = [await reads(ask, browser) for browser in (one, two, other)]

    assert [entry["name"] for entry in listed] == ["operator", "viewer", "viewer"]
    assert listed[0].keys() == {"id", "name", "role", "via", "address", "begun", "expires"}
    assert (ended.status, ended.json["name"], again.status) == (200, "viewer", 404)
    assert (after_one, after_all) == ([401, 200, 200], [401, 401, 200])
    assert len(rest.json) == 1


async def test_a_login_is_accepted_as_bearer_token_until_its_logout(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        value = (await ask.log_in("operator"))["Cookie"].partition("=")[2]
        bearer = {"Authorization": f"Bearer {value}"}
        before = await ask("POST", "/scheduler/jobs/tick/pause", headers=bearer)
        await ask("POST", "/logout", headers=bearer)
        after = await ask("GET", "/scheduler/jobs", headers=bearer)

    assert (before.status, after.status) == (200, 401)
    assert "this login has ended" in after.json["detail"]


async def test_a_wrong_token_does_not_end_the_login_of_its_browser(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        browser = await ask.log_in("viewer")
        await ask("POST", "/login", json={"token": "wrong"}, headers=browser)

        assert await reads(ask, browser) == 200


async def test_one_token_cannot_end_the_logins_of_others(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS_OF_NAME", 3)
    async with serve(tick, guarded=True) as ask:
        admin = await ask.log_in("admin")
        viewers = [await ask.log_in("viewer") for _ in range(5)]
        statuses = [await reads(ask, browser) for browser in viewers]

        assert await reads(ask, admin) == 200
    assert statuses == [401, 401, 200, 200, 200]


async def test_a_logout_while_the_store_is_away_counts_at_once_and_is_stored_later(
    serve: Any, gnomon_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    async with serve(tick, guarded=True, kernel={"store": store}) as ask:
        browser = await ask.log_in("viewer")

        async def away(*_: Any) -> None:
            raise GnomonError("the store is away")

        with monkeypatch.context() as outage:
            outage.setattr(store, "save_checkpoint", away)
            await ask("POST", "/logout", headers=browser)
            assert await reads(ask, browser) == 401
        await gnomon_clock.until(
            lambda: b'"sessions":[]' in (store._checkpoints[sessions.CHECKPOINT].view or b""), step=5.0
        )


# --- reload ---


def write_config(folder: Path, *tokens: str, port: int = 0, role: str = "operator") -> Path:
    lines = ["[plugins.memory]", "[plugins.web]", f"port = {port}"]
    for name in tokens:
        lines += ["[[plugins.web.tokens]]", f'name = "{name}"', f'role = "{role}"', f'token = {{ file = "{name}" }}']
    (folder / "gnomon.toml").write_text("\n".join(lines))
    return folder / "gnomon.toml"


async def test_a_reload_replaces_tokens_and_ends_the_logins_of_those_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "anna").write_text("First-Stone.Casts9\n")
    (tmp_path / "bob").write_text("0ther-Stone.Casts9\n")
    running = load_config(write_config(tmp_path, "anna", "bob"), {})
    deployment = assemble(running)
    kernel = build_kernel(deployment)
    reloader = Reloader(kernel, running)
    web = deployment.plugins["web"].object
    async with kernel, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def status(**headers: str) -> int:
            async with client.get(web.url + "/scheduler/jobs", headers=headers) as answer:
                return answer.status

        async def log_in(token: str) -> str:
            async with client.post(web.url + "/login", json={"token": token}) as answer:
                return answer.headers["Set-Cookie"].partition(";")[0]

        anna, bob = await log_in("First-Stone.Casts9"), await log_in("0ther-Stone.Casts9")
        (tmp_path / "anna").write_text("Second-Stone.Casts9\n")
        rotated = await reloader.reload("test")
        after_rotation = [
            await status(Authorization="Bearer First-Stone.Casts9"),
            await status(Authorization="Bearer Second-Stone.Casts9"),
            await status(Cookie=anna),
            await status(Cookie=bob),
        ]
        write_config(tmp_path, "anna", port=1)
        removed = await reloader.reload("test")
        after_removal = [await status(Cookie=bob), await status(Authorization="Bearer Second-Stone.Casts9")]
        (tmp_path / "anna").write_text("short\n")
        with pytest.raises(Exception, match="fewer than 16 characters"):
            await reloader.reload("test")
        after_refusal = await status(Authorization="Bearer Second-Stone.Casts9")

    assert (rotated.applied, rotated.needs_restart) == (["plugins.web.tokens"], [])
    assert after_rotation == [401, 200, 401, 200]
    assert (removed.applied, removed.needs_restart) == (["plugins.web.tokens"], ["plugins.web.port"])
    assert (after_removal, after_refusal) == ([401, 200], 200)


async def test_a_reload_gives_open_logins_the_new_role(serve: Any) -> None:
    async with serve(tick, tokens=[Token("ops", "operator", Secret(OPS))]) as ask:
        login = await ask("POST", "/login", json={"token": OPS})
        host, port = ask.web.address
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        browser = {"Cookie": cookie, "Origin": f"http://{host}:{port}"}
        before = await ask("POST", "/scheduler/jobs/tick/pause", headers=browser)
        applied = await ask.kernel.reload_plugins({"web": Config(port=0, tokens=[Token("ops", "viewer", Secret(OPS))])})
        after = [(await ask(*call, headers=browser)).status for call in (
            ("GET", "/scheduler/jobs"), ("POST", "/scheduler/jobs/tick/pause"),
        )]  # fmt: skip

    assert (before.status, after) == (200, [200, 403])
    assert applied == {"web": frozenset({"tokens", "oidc", "session"})}


async def test_a_plugin_that_fails_to_reload_is_logged_and_reported(
    gnomon_kernel: Callable[..., Kernel], logged: list[Any]
) -> None:

    class Broken:
        @hookimpl
        def reload(self, config: Any) -> list[str]:
            raise SystemExit(3)

    async with gnomon_kernel(tick, plugins=[Broken()]) as kernel:
        applied = await kernel.reload_plugins({"Broken": Config()})

    assert applied == {"Broken": frozenset()}
    assert [line["problem"] for line in logged if "could not reload" in line["event"]] == ["SystemExit: 3"]
