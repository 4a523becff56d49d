"""Logins, logouts and refused requests in the history, and a flood of them that does not fill the log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gnomon import AccessDenied, LoggedIn, LoggedOut
from gnomon.conversion import Secret
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
