"""The client defines jobs at run time, also without an event loop."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from gnomon import Job, UnknownJobError
from gnomon.client import Client, ClientError, SyncClient
from gnomon.errors import (
    ForeignJobError,
    FunctionNotAllowedError,
    JobConflictError,
    JobExistsError,
    JobKeysError,
    UnknownExecutionError,
)

HERE = f"{__name__}:"
KEYS = {"id": "nightly", "func": f"{HERE}sync", "cron": "0 3 * * *"}
OPEN = {"allow_functions": [f"{HERE}*"]}


async def sync(market: str = "cn") -> str:
    return market


async def test_a_job_lives_through_the_client(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask, Client(ask.web.url) as client:
        preview = await client.preview_job(KEYS)
        added = await client.add_job(KEYS, owner="tenant-7", reason="new")
        changed = await client.change_job("nightly", {"kwargs": {"market": "hk"}, "cron": None, "every": "1h"})
        replaced = await client.replace_job("nightly", KEYS | {"name": "N"}, expect_version=changed.version)
        removed = await client.remove_job("nightly", expect_version=replaced.version)

        assert (preview.ok, preview.action, preview.gained.count) == (True, "add", 7)
        assert (added.origin, added.owner, added.version) == ("api", "tenant-7", 1)
        assert changed.kwargs == {"market": "hk"}
        assert (replaced.name, replaced.kwargs) == ("N", {})
        assert (removed.id, removed.version) == ("nightly", 4)
        assert await client.jobs() == []


async def test_errors_of_orders_are_the_kernels_own(serve: Any) -> None:
    async with serve(Job(id="own", func=sync), kernel=OPEN) as ask, Client(ask.web.url) as client:
        await client.add_job(KEYS)

        with pytest.raises(JobExistsError, match="nightly"):
            await client.add_job(KEYS)
        with pytest.raises(ForeignJobError, match="the program defines it"):
            await client.remove_job("own")
        with pytest.raises(JobConflictError, match="has version 1"):
            await client.change_job("nightly", {"name": "N"}, expect_version=7)
        with pytest.raises(UnknownJobError, match="did you mean 'nightly'"):
            await client.change_job("nightl", {"name": "N"})
        with pytest.raises(FunctionNotAllowedError, match="allow_functions"):
            await client.add_job({"id": "x", "func": "os:system"})
        with pytest.raises(JobKeysError) as caught:
            await client.add_job(KEYS | {"id": "x", "cron": "x", "retry": 2})

    assert {key for key, _ in caught.value.problems} == {"cron", "retry"}


async def test_the_same_calls_work_without_an_event_loop(serve: Any) -> None:
    def use(url: str) -> list[Any]:
        with SyncClient(url) as client:
            client.add_job(KEYS)
            run = client.trigger("nightly", kwargs={"market": "us"}).execution
            frames = [frame.status for frame in client.follow(run.id)]
            done = client.wait(run.id)
            first = next(iter(client.events(after=0)))
            with pytest.raises(UnknownJobError):
                client.job("nothing")
            return [frames[-1], done.return_value, first.position]

    async with serve(kernel=OPEN) as ask:
        found = await asyncio.to_thread(use, ask.web.url)

    assert found == ["success", "us", 1]


def test_a_closed_client_says_so() -> None:
    client = SyncClient("http://127.0.0.1:1")

    with pytest.raises(ClientError, match="closed"):
        client.jobs()
    client.close()


async def test_a_client_that_is_not_open_says_how_to_use_it() -> None:
    client = Client("http://127.0.0.1:1")

    with pytest.raises(ClientError, match="async with Client"):
        await client.jobs()
    async with client:
        pass
    with pytest.raises(ClientError, match="async with Client"):
        await anext(client.events())


def test_a_patience_is_a_timedelta_or_seconds() -> None:
    for kind in (Client, SyncClient):
        kind("http://127.0.0.1:1", patience=3)
        with pytest.raises(ClientError, match="patience is '1m': expected a timedelta, or seconds such as 60"):
            kind("http://127.0.0.1:1", patience="1m")  # type: ignore[arg-type]


async def test_waiting_for_an_unknown_run_raises_the_kernels_own_error(serve: Any) -> None:
    async with serve(kernel=OPEN) as ask, Client(ask.web.url) as client:
        await client.add_job(KEYS)
        for unknown in ("x", "nightly"):
            with pytest.raises(UnknownExecutionError):
                await client.wait(unknown)
            with pytest.raises(UnknownExecutionError):
                await client.wait_many([unknown, "y"])


def test_the_sync_client_has_every_call_of_the_client() -> None:
    calls = {name for name, call in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}

    assert {name for name in vars(SyncClient) if not name.startswith("_")} == calls | {"close"}
    for name in calls:
        assert inspect.getdoc(getattr(SyncClient, name))
        assert list(inspect.signature(getattr(SyncClient, name)).parameters) == list(
            inspect.signature(getattr(Client, name)).parameters
        )
