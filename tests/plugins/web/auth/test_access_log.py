"""Logins, logouts and refused requests in the history, and a flood of them that does not fill the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import AccessDenied, GnomonError, Kernel, LoggedIn, LoggedOut, NoLeaderError, OrderLostError
from gnomon.conversion import Secret
from gnomon_sqlite.store import SqliteStore
from gnomon_web.auth import access_log as access_log_module
from gnomon_web.auth.access_log import AccessLog
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config

WRONG = {"Authorization": "Bearer not-a-token-of-ours"}


async def tick() -> None:
    """A job."""


@pytest.fixture
async def settle(gnomon_clock: Any, gnomon_events: Any) -> Any:
    """Return a function that waits until so many events of a type are recorded, and returns them."""

    async def wait(event_type: Any, count: int) -> Any:
        await gnomon_clock.until(lambda: len(gnomon_events.of(event_type)) >= count)
        return gnomon_events.of(event_type)

    return wait


async def test_logins_and_their_ends_are_in_the_history(serve: Any, settle: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        first, second = await ask.log_in("viewer"), await ask.log_in("viewer")
        await ask("POST", "/logout", headers=first)
        await ask("DELETE", "/sessions?name=viewer", as_="admin")
        logins = await settle(LoggedIn, 2)
        ends = await settle(LoggedOut, 2)
        history = (await ask("GET", "/scheduler/history", as_="viewer")).json["history"]

    assert second
    assert [(event.actor, event.via, event.address) for event in logins] == [("viewer", "token", "127.0.0.1")] * 2
    assert [(event.actor, event.name, event.reason) for event in ends] == [
        ("viewer", "viewer", "logout"),
        ("admin", "viewer", "revoked"),
    ]
    assert [entry["action"] for entry in history] == ["log_out", "log_out", "log_in", "log_in"]
    assert {event.job_id for event in (*logins, *ends)} == {""}


async def test_a_reload_that_ends_a_login_is_in_the_history(serve: Any, settle: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        await ask.log_in("viewer")
        other = Token("other", "viewer", Secret("w4rm-Stone.Casts9"))
        await ask.kernel.reload_plugins({"web": Config(port=0, tokens=[other])})
        (ended,) = await settle(LoggedOut, 1)

    assert (ended.name, ended.reason) == ("viewer", "reload")


async def test_refused_requests_are_in_the_history_with_their_actor(serve: Any, settle: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        await ask("POST", "/login", json={"token": "wrong"})
        await ask("GET", "/scheduler/jobs", headers=WRONG)
        await ask("POST", "/scheduler/jobs/tick/pause", as_="viewer")
        await ask("GET", "/scheduler/jobs")  # without credentials: a first visit
        refused = await settle(AccessDenied, 2)
        history = (await ask("GET", "/scheduler/history", as_="viewer")).json["history"]

    assert [(event.actor, event.reason, event.detail) for event in refused] == [
        ("nobody", "invalid-token", "POST /login"),
        ("viewer", "insufficient-role", "POST /scheduler/jobs/{job_id}/pause"),
    ]
    assert history[0]["status"] == "failed"
    assert history[0]["error_message"] == "insufficient-role from 127.0.0.1: POST /scheduler/jobs/{job_id}/pause"


async def test_repeated_refusals_are_one_event_a_minute(serve: Any, settle: Any, gnomon_clock: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        for _ in range(50):
            await ask("GET", "/scheduler/jobs", headers=WRONG)
        (first,) = await settle(AccessDenied, 1)
        await gnomon_clock.advance(timedelta(minutes=2))
        _, rest = await settle(AccessDenied, 2)

    assert (first.count, rest.count) == (1, 49)


async def test_a_flood_from_many_addresses_does_not_fill_the_log(
    serve: Any, settle: Any, gnomon_clock: Any, gnomon_events: Any
) -> None:
    async with serve(tick, guarded=True, trusted_proxies=["127.0.0.1"]) as ask:
        for number in range(300):
            await ask(
                "GET", "/scheduler/jobs", headers={**WRONG, "X-Forwarded-For": f"203.0.{number % 3}.{number % 250}"}
            )
        await gnomon_clock.advance(timedelta(minutes=70))
        await gnomon_clock.until(lambda: sum(event.count for event in gnomon_events.of(AccessDenied)) == 300, step=5.0)
        refused = gnomon_events.of(AccessDenied)

    assert len(refused) <= 65
    assert refused[-1].address == "others"


async def test_no_secret_of_a_refused_request_is_recorded(serve: Any, settle: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        await ask("POST", "/login", json={"token": "a-wrong-token-of-ours"})
        browser = await ask.log_in("viewer")
        events = [*(await settle(AccessDenied, 1)), *(await settle(LoggedIn, 1))]

    told = repr(events)
    assert "a-wrong-token" not in told
    assert browser["Cookie"].rpartition(".")[2] not in told


# --- facts that cannot be recorded at once ---


class Unreliable:
    """The kernel, of which the next calls of `record_fact` fail: before the fact is recorded, or after that."""

    def __init__(self, kernel: Kernel, *errors: GnomonError) -> None:
        self.clock = kernel.clock
        self.health = kernel.health
        self.events = kernel.events
        self.is_away = False
        self._kernel = kernel
        self._errors = list(errors)

    async def record_fact(self, fact: Any, /, **facts: Any) -> int:
        if self.is_away:
            raise NoLeaderError("nobody leads")
        error = self._errors.pop(0) if self._errors else None
        position = 0 if isinstance(error, NoLeaderError) else await self._kernel.record_fact(fact, **facts)
        if error is not None:
            raise error
        return position


async def recorded(kernel: Kernel) -> list[str]:
    return [event.detail for event in await kernel.events() if isinstance(event, AccessDenied)]


@asynccontextmanager
async def noting(kernel: Any) -> AsyncIterator[AccessLog]:
    access_log = AccessLog(kernel)
    running = asyncio.create_task(access_log.run())
    try:
        yield access_log
    finally:
        running.cancel()
        await asyncio.wait((running,))


@pytest.mark.parametrize(
    "errors",
    [
        [NoLeaderError("nobody leads"), NoLeaderError("nobody leads")],
        [OrderLostError("it ended"), NoLeaderError("nobody leads")],
        [NoLeaderError("nobody leads"), OrderLostError("it ended"), OrderLostError("it ended")],
    ],
)
async def test_each_fact_is_recorded_once_and_in_order_whatever_answers_are_lost(
    gnomon_kernel: Callable[..., Kernel], monkeypatch: pytest.MonkeyPatch, errors: list[GnomonError]
) -> None:
    monkeypatch.setattr(access_log_module, "RETRY_S", 0.01)
    async with gnomon_kernel() as kernel, noting(Unreliable(kernel, *errors)) as access_log:
        for detail in ("first", "second", "third"):
            access_log.refused("invalid-token", detail, "127.0.0.1", detail)
        while len(await recorded(kernel)) < 3:  # noqa: ASYNC110 - facts of the log
            await asyncio.sleep(0.01)
        await access_log.finish()

        assert await recorded(kernel) == ["first", "second", "third"]


async def test_a_fact_that_can_never_be_recorded_does_not_hold_up_the_others(
    gnomon_kernel: Callable[..., Kernel], logged: list[Any]
) -> None:
    async with gnomon_kernel() as kernel, noting(kernel) as access_log:
        access_log.refused("invalid-token", "ann", "127.0.0.1", "not \udce9 text")
        access_log.refused("invalid-token", "bob", "127.0.0.1", "text")
        await access_log.finish()

        assert await recorded(kernel) == ["text"]
    assert [line["fact"] for line in logged if line["event"] == "access was not recorded"] == ["AccessDenied"]


async def test_the_facts_that_are_kept_are_bounded_and_those_of_the_end_are_recorded(
    gnomon_kernel: Callable[..., Kernel], monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    monkeypatch.setattr(access_log_module, "MAX_QUEUE", 3)
    monkeypatch.setattr(access_log_module, "RETRY_S", 0.01)
    monkeypatch.setattr(access_log_module, "FINISH_LIMIT_S", 0.05)
    async with gnomon_kernel() as kernel:
        unreliable = Unreliable(kernel)
        async with noting(unreliable) as access_log:
            unreliable.is_away = True
            for number in range(6):
                access_log.refused("invalid-token", f"{number}", "127.0.0.1", f"{number}")
            await access_log.finish()
            unreliable.is_away = False
            access_log.refused("invalid-token", "5", "127.0.0.1", "again")
            monkeypatch.setattr(access_log_module, "FINISH_LIMIT_S", 60.0)
            await access_log.finish()

        assert await recorded(kernel) == ["3", "4", "5", "again"]
    told = [line for line in logged if "facts about access are lost" in line["event"]]
    assert [line.get("facts", line.get("kept")) for line in told] == [3, 3]


async def test_what_was_counted_until_the_end_is_recorded_at_the_end(serve: Any, tmp_path: Path) -> None:
    async with serve(tick, guarded=True, kernel={"store": SqliteStore(tmp_path / "log.db")}) as ask:
        for _ in range(7):
            await ask("GET", "/scheduler/jobs", headers=WRONG)
    store = SqliteStore(tmp_path / "log.db")
    await store.open(read_only=True)
    events = await store.read(limit=1_000)
    await store.close()

    assert sum(event.count for event in events if isinstance(event, AccessDenied)) == 7
