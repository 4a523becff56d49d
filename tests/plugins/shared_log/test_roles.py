"""Changes of role: a store that follows, waits to lead, leads, is deposed and follows again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon import Duration, Job, Kernel
from gnomon.errors import DeposedError, StoreInUseError
from gnomon.testing.histories import append, numbered, scheduled
from gnomon_shared_log.lease import lease, lease_watch
from gnomon_shared_log.lease.lease import Lease
from gnomon_shared_log.lease.lease_watch import LeaseWatch
from gnomon_shared_log.ports.lease_row import LeaseRow
from gnomon_shared_log.ports.server_log import ServerLog
from gnomon_shared_log.shared_log import SharedLog
from log_holder import holding
from log_places import LogServer, make_database, place_on
from moved_clock import Hand
from servers import eventually

MakeStore = Callable[..., SharedLog[Any]]
ELSEWHERE = LeaseRow("theirs", 3, 8, node="b", pid=7, place="b")
NEVER_S = 3600.0


async def test_a_row_that_a_follower_saw_unchanged_for_its_lease_is_taken_at_once(log: ServerLog[Any]) -> None:
    await log.lease.put(msgspec.structs.replace(ELSEWHERE, seconds=40.0), None)
    clock = Hand()
    candidate = Lease(log.lease, 10.0, "hold", clock)
    await candidate.watch.look(log.lease)
    clock.time += 39.9
    await candidate.watch.look(log.lease)
    assert not candidate.watch.is_free()
    clock.time += 0.1
    assert candidate.watch.is_free()

    await candidate.acquire()  # this clock stands still: it would wait for ever

    assert candidate.term().epoch == 4
    await candidate.release()


async def test_a_follower_looks_for_the_release_as_soon_as_the_leader_has_recorded_its_stop(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pause(*_: object) -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(SharedLog, "wait_for_events", pause)  # it notes the row, and reports each change of it
    monkeypatch.setattr(lease_watch, "LOOK_S", NEVER_S)
    hourly = Job(id="hourly", func="time:time", every=Duration(hours=1))
    first, second = (
        Kernel(role="auto", store=make_store(lease=timedelta(seconds=NEVER_S)), node=node, jobs=[hourly])
        for node in ("first", "second")
    )
    async with AsyncExitStack() as stack:
        async with first:
            await stack.enter_async_context(second)
            assert second.health().role == "follower"
        await eventually(lambda: not second.is_changing and second.health().role == "leader")


async def test_a_deposed_store_follows_and_leads_again(make_store: MakeStore) -> None:
    first, second = make_store(), make_store()
    await first.open()
    await append(first, scheduled())
    owner = first._lease.term().owner
    await first._log.lease.delete(first._lease.term())  # as `gnomon takeover` does
    await second.open()
    await append(second, scheduled("second"))

    with pytest.raises(DeposedError):
        await first.append(numbered(scheduled("late"), after=1), [], [])
    assert first.health().state == "lost"
    await first.close()
    await first.open(read_only=True)

    assert first.health().state == "healthy"
    assert [event.job_id for event in await first.read()] == ["sync", "second"]
    waiting = asyncio.ensure_future(first.wait_until_free())
    await second.close()
    await waiting
    await first.close()
    await first.open()
    await append(first, scheduled("third"))
    assert first.health().state == "healthy"
    assert first._lease.term().owner != owner
    await first.close()


# A stopped process keeps its spool

HOLDER = """
import asyncio, sys
from datetime import timedelta
from gnomon.testing.histories import append, scheduled
from log_places import store_of

async def main():
    place, spool = sys.argv[1:]
    lease = {"lease": timedelta(seconds=10), "timeout": timedelta(seconds=9)}
    async with store_of(place, spool, **lease) as store:
        await append(store, scheduled())
        print("open", flush=True)
        while store.health().state != "lost":
            await asyncio.sleep(0.05)
asyncio.run(main())
"""


@pytest.fixture
def holder(place: str, settings: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Provide a process that leads, with the configuration of the test's own stores."""
    with holding(HOLDER, place, str(settings["spool"])) as process:
        yield process


async def test_a_stopped_process_does_not_keep_another_one_of_its_configuration_from_leading(
    make_store: MakeStore, holder: subprocess.Popen[str], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder.send_signal(signal.SIGSTOP)
    store = make_store()
    monkeypatch.setattr(LeaseWatch, "lasts", lambda _, row: 1.0)
    monkeypatch.setattr(lease, "LOOK_S", 0.05)
    await store.open(read_only=True)
    await store.wait_until_free()
    await store.close()
    await store.open()

    assert store._spool.path == settings["spool"].with_name("spool-2.db")
    await append(store, scheduled("second"))
    holder.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(holder.wait, 60) == 0
    await store.close()
    await store.open()
    assert store._spool.path == settings["spool"]


async def test_a_spool_with_acknowledged_events_is_never_passed_by(
    make_store: MakeStore, server: LogServer, tmp_path: Path
) -> None:
    make_database(server, other := f"gnomon_{uuid.uuid4().hex[:12]}")
    first, second = make_store(cut_off="run"), make_store(cut_off="run", place=place_on(server, other))
    await first.open()
    with pytest.raises(StoreInUseError, match=r"the spool .* is in use by another kernel"):
        await second.open()
    assert [path.name for path in tmp_path.glob("spool-*")] == []
