"""Terms: who leads, for how long a process may trust that it does, and what ends it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import msgspec
import pytest

from gnomon.domain.events import Event
from gnomon.errors import DeposedError, StoreError, StoreInUseError, StoreUnavailableError
from gnomon.testing.histories import append, numbered, running, succeeded
from gnomon_shared_log.lease import lease_holder
from gnomon_shared_log.lease.lease import Lease
from gnomon_shared_log.lease.lease_clock import lease_clock
from gnomon_shared_log.ports.batch import Batch
from gnomon_shared_log.ports.lease_row import CutOff, LeaseTable, Term
from gnomon_shared_log.ports.server_log import ServerLog
from gnomon_shared_log.shared_log import SharedLog
from log_holder import holding
from moved_clock import Hand
from servers import eventually

MakeStore = Callable[..., SharedLog[Any]]
MakeLease = Callable[..., Lease]


@pytest.fixture
def table(log: ServerLog[Any]) -> LeaseTable:
    return log.lease


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
async def make_lease(table: LeaseTable, clock: Hand) -> AsyncIterator[MakeLease]:
    async with AsyncExitStack() as stack:

        def make(cut_off: CutOff = "hold") -> Lease:
            lease = Lease(table, 10.0, cut_off, clock)
            stack.push_async_callback(lease.release)
            return lease

        yield make


async def take(table: LeaseTable, epoch: int) -> None:
    """Lead as another kernel would that has waited for the lease."""
    seen = await table.read()
    assert seen is not None
    await table.put(msgspec.structs.replace(seen, owner="theirs", epoch=epoch, renewals=1, pid=7), seen)
    await table.open_to(Term("theirs", epoch))


async def test_every_win_has_a_new_owner_and_a_higher_epoch(make_lease: MakeLease, table: LeaseTable) -> None:
    first, second = make_lease(), make_lease()
    await first.acquire()
    won = [first.term()]
    await first.release()
    assert await table.read() is None
    for lease in (second, first):
        await lease.acquire()
        won.append(lease.term())
        await lease.release()

    assert [term.epoch for term in won] == [1, 2, 3]
    assert len({term.owner for term in won}) == 3


async def test_the_window_counts_from_before_the_renewal_was_sent(
    make_lease: MakeLease, clock: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = make_lease()
    await lease.acquire()
    confirm = lease._confirm

    async def slowly(*args: Any) -> Any:
        clock.time += 4.0
        return await confirm(*args)

    monkeypatch.setattr(lease, "_confirm", slowly)
    await lease.renew()

    clock.time += 5.9
    assert lease.is_trusted
    clock.time += 0.1
    assert not lease.is_trusted


async def test_a_renewal_that_is_confirmed_after_the_window_is_a_new_win(
    make_lease: MakeLease, clock: Hand, table: LeaseTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = make_lease()
    await lease.acquire()
    confirm, calls = lease._confirm, []

    async def hanging(*args: Any) -> Any:
        calls.append(args)
        clock.time += 11.0 if len(calls) == 1 else 0.0
        return await confirm(*args)

    monkeypatch.setattr(lease, "_confirm", hanging)
    await lease.renew()

    assert lease.is_trusted
    assert lease.term().epoch == 2
    found = await table.read()
    assert found is not None
    assert found.epoch == 2


async def test_a_win_whose_reply_was_lost_is_won_all_the_same(
    make_lease: MakeLease, clock: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = make_lease()
    await lease.acquire()
    confirm, calls = lease._confirm, []

    async def unheard(*args: Any) -> Any:
        found = await confirm(*args)
        calls.append(args)
        if len(calls) == 1:
            raise StoreUnavailableError("the reply was lost")
        return found

    monkeypatch.setattr(lease, "_confirm", unheard)
    clock.time += 10.0
    with pytest.raises(StoreUnavailableError):
        await lease.renew()
    assert lease.trusted_for <= 0

    await lease.renew()

    assert lease.is_trusted
    assert lease.term().epoch == 2


def as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide that holder and candidate share a machine, so that only watching the row counts."""
    monkeypatch.setattr(lease_holder, "_place", lambda _: None)


def lose_answers(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose the answer to each change of the row; what was sent arrives."""
    confirm = lease._confirm

    async def unheard(*args: Any) -> Any:
        await confirm(*args)
        raise StoreUnavailableError("the reply was lost")

    monkeypatch.setattr(lease, "_confirm", unheard)


@pytest.mark.parametrize("reads_are_answered", [True, False])
async def test_a_holder_that_gets_no_answers_does_not_keep_others_from_leading(
    make_lease: MakeLease,
    table: LeaseTable,
    clock: Hand,
    monkeypatch: pytest.MonkeyPatch,
    reads_are_answered: bool,
) -> None:
    as_elsewhere(monkeypatch)
    lease, candidate = make_lease(), make_lease()
    await lease.acquire()
    await candidate.watch.look(table)
    began = clock.time
    lose_answers(lease, monkeypatch)
    if not reads_are_answered:
        monkeypatch.setattr(lease, "_seen", AsyncMock(side_effect=StoreUnavailableError("the reply was lost")))
    while not candidate.watch.is_free():
        clock.time += 2.0
        with pytest.raises(StoreUnavailableError):
            await lease.renew()
        await candidate.watch.look(table)
        assert clock.time - began < 60.0

    assert not lease.is_trusted
    # Once more the row changes with the first renewal, and once with the win of a holder that can read.
    assert clock.time - began == (20.0 if reads_are_answered else 12.0)
    await candidate.acquire()  # this clock stands still: it would wait for ever
    assert candidate.is_trusted


async def test_the_window_counts_from_the_first_attempt_of_a_renewal(
    make_lease: MakeLease, table: LeaseTable, clock: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_elsewhere(monkeypatch)
    lease, candidate = make_lease(), make_lease()
    await lease.acquire()
    clock.time += 2.0
    with monkeypatch.context() as lossy:
        lose_answers(lease, lossy)
        with pytest.raises(StoreUnavailableError):
            await lease.renew()
    await candidate.watch.look(table)
    clock.time += 7.0
    confirm, numbers = lease._confirm, []

    async def numbered(term: Term, change: Any) -> Any:
        numbers.append((change.row.renewals, lease.trusted_for))
        return await confirm(term, change)

    monkeypatch.setattr(lease, "_confirm", numbered)
    await lease.renew()

    assert numbers == [(2, 1.0), (3, 3.0)]  # the attempt gives what is left of its window, and the next renewal more
    assert lease.trusted_for == 10.0
    await candidate.watch.look(table)
    clock.time += 9.9
    assert not candidate.watch.is_free()


async def test_an_attempt_that_arrives_after_newer_ones_changes_nothing(
    make_lease: MakeLease, table: LeaseTable
) -> None:
    lease = make_lease()
    await lease.acquire()
    late, _ = lease._change(lease.term())
    for _ in range(3):
        await lease.renew()
    newest = await table.read()

    assert not await lease._confirm(lease.term(), late)
    assert await table.read() == newest


async def test_a_row_that_is_gone_ends_the_term_and_is_not_inserted_again(
    make_lease: MakeLease, table: LeaseTable
) -> None:
    lease = make_lease()
    await lease.acquire()
    await table.delete(lease.term())

    for _ in range(2):
        with pytest.raises(DeposedError, match="its lease is gone"):
            await lease.renew()

    assert await table.read() is None


@pytest.mark.parametrize("lapsed", [False, True])
async def test_a_term_that_another_kernel_has_taken_is_over(
    make_lease: MakeLease, clock: Hand, table: LeaseTable, lapsed: bool
) -> None:
    lease = make_lease()
    await lease.acquire()
    await take(table, 2)
    clock.time += 20.0 if lapsed else 0.0

    with pytest.raises(DeposedError, match="process 7"):
        await lease.renew()
    await lease.release()

    found = await table.read()
    assert found is not None
    assert found.term == Term("theirs", 2)


def encoded(store: SharedLog[Any], events: Sequence[Event]) -> Batch:
    """Encode events as the store does, without views."""
    if store.name == "mongo":
        from gnomon_mongo.log.append_batch import batch_of

        return batch_of(events, [], [], events[-1].position)
    from gnomon_postgres.write_batch import WriteBatch

    return WriteBatch.of_append(events, [], [])


async def test_an_append_of_an_earlier_term_writes_nothing(
    log: ServerLog[Any], make_lease: MakeLease, make_store: MakeStore
) -> None:
    old = make_lease()
    await old.acquire()
    events = numbered(succeeded())
    first, rest = (encoded(make_store(), some) for some in (events[:1], events[1:]))
    await log.events.write_events(first, old.term())
    await take(log.lease, 2)

    for after in (None, first.newest):
        rest.follow(after, 1)
        with pytest.raises(DeposedError, match=r"leads in epoch 2; .* led in epoch 1"):
            await log.events.write_events(rest, old.term())

    assert await log.events.read_head() == 1


async def test_an_append_that_a_new_win_of_its_own_kernel_overtakes_is_repeated(
    log: ServerLog[Any], make_lease: MakeLease, clock: Hand, make_store: MakeStore
) -> None:
    lease = make_lease()
    await lease.acquire()
    earlier = lease.term()
    clock.time += 20.0
    await lease.renew()
    batch = encoded(make_store(), numbered(succeeded()))

    with pytest.raises(StoreUnavailableError, match="again, in epoch 2"):
        await log.events.write_events(batch, earlier)
    assert await log.events.read_head() == 0
    await log.events.write_events(batch, lease.term())
    assert await log.events.read_head() == batch.last


async def test_a_winner_that_sleeps_before_it_has_set_the_fence_has_not_won(
    table: LeaseTable, make_lease: MakeLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, open_to = make_lease(), table.open_to

    async def late(term: Term) -> None:
        monkeypatch.undo()
        await take(table, 5)
        await open_to(term)

    monkeypatch.setattr(table, "open_to", late)
    with pytest.raises(DeposedError, match="leads in epoch 5"):
        await lease.acquire()

    assert not lease.is_trusted
    with pytest.raises(DeposedError):
        lease.term()


async def test_a_term_that_is_ended_from_outside_is_over_and_no_epoch_comes_back(
    table: LeaseTable, make_lease: MakeLease
) -> None:
    lease, following = make_lease(), make_lease()
    await lease.acquire()
    seen = await table.read()
    assert seen is not None
    await table.end(seen)

    assert await table.read() is None
    with pytest.raises(DeposedError):
        await lease.renew()
    with pytest.raises(DeposedError):
        await table.open_to(lease.term())
    await following.acquire()
    assert following.term().epoch > seen.epoch + 1  # one in which nobody led is in between


async def test_the_clock_of_leases_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    before = lease_clock()
    monkeypatch.setattr("time.time", lambda: 0.0)  # nobody can set it

    assert lease_clock() >= before


async def test_a_lapse_is_noticed_while_a_renewal_hangs(make_lease: MakeLease, clock: Hand) -> None:
    lease = make_lease()
    await lease.acquire()
    lapses: list[float] = []
    clock.time += 9.99
    await lease._turn.acquire()  # as a renewal that hangs has it

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(lease.watch_lapses(lambda: lapses.append(clock.time)))
        renewing = tasks.create_task(lease.renew())
        clock.time += 0.01
        await eventually(lambda: lapses)
        assert not lease.is_trusted
        assert not renewing.done()
        watching.cancel()
        renewing.cancel()


# With stores and processes

HOLDER = """
import asyncio, sys
from datetime import timedelta
from gnomon.errors import StoreError
from gnomon.testing.histories import append, scheduled
from log_places import store_of

async def main():
    place, spool, cut_off = sys.argv[1:]
    lease = {"lease": timedelta(seconds=3), "timeout": timedelta(seconds=2.9)}
    async with store_of(place, spool, cut_off=cut_off, **lease) as store:
        await append(store, scheduled())
        print("open", flush=True)
        while store.health().state != "lost":
            await asyncio.sleep(0.05)
        try:
            await append(store, scheduled("other"))
        except StoreError as exc:
            print(type(exc).__name__, flush=True)
asyncio.run(main())
"""


@pytest.fixture
def start_holder(place: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Provide a function that starts a process with an open store, and waits until it leads."""
    with ExitStack() as stack:
        yield lambda cut_off="hold": stack.enter_context(holding(HOLDER, place, str(tmp_path / "holder.db"), cut_off))


async def opened(store: SharedLog[Any]) -> None:
    """Open it as a standby does, again and again."""
    while True:
        try:
            await store.open()
        except StoreInUseError:
            await asyncio.sleep(0.1)
        else:
            return


async def test_a_stopped_process_of_this_machine_does_not_keep_the_log(
    make_store: MakeStore, start_holder: Any
) -> None:
    holder = start_holder()
    holder.send_signal(signal.SIGSTOP)
    store = make_store(lease=timedelta(seconds=3), timeout=timedelta(seconds=2.9))

    await opened(store)
    assert await store.head() == 1
    await append(store, running()[1:])

    holder.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(holder.stdout.readline) == "DeposedError\n"
    assert [event.type for event in await store.read()] == ["scheduled", "started"]


async def test_a_second_kernel_is_refused_at_once_while_the_first_renews(
    make_store: MakeStore, start_holder: Any
) -> None:
    holder = start_holder()
    store = make_store(lease=timedelta(hours=1))  # for which it would wait, were the holder of another machine

    with pytest.raises(StoreInUseError, match=f"process {holder.pid}"):
        await store.open()


async def test_nobody_takes_a_silent_holder_over_whose_cut_off_is_run(make_store: MakeStore, start_holder: Any) -> None:
    holder = start_holder("run")
    holder.send_signal(signal.SIGSTOP)

    with pytest.raises(StoreInUseError, match=r"`cut_off` is 'run': .* use `gnomon takeover`"):
        await make_store().open()

    holder.kill()
    holder.wait()
    assert await make_store().holder() is None
    async with make_store() as store:  # nothing that is dead runs jobs
        assert await store.head() == 1


FORKING = """
import asyncio, os, sys
from gnomon.errors import StoreError
from gnomon.testing.histories import append, scheduled
from log_places import store_of

async def child(store):
    health = store.health()
    print(health.state, health.accepts_runs, flush=True)
    try:
        await append(store, scheduled("other"))
    except StoreError as exc:
        print(exc, flush=True)
    await store.close()
    sys.exit()  # with the end of the interpreter, which closes what is left

async def main(store):
    await store.open()
    print("open", flush=True)
    await append(store, scheduled())
    pid = os.fork()
    if pid == 0:
        await child(store)
    assert os.waitpid(pid, 0)[1] == 0
    print("spool is whole:", os.path.exists(sys.argv[2] + "-wal"), flush=True)
    await append(store, scheduled("third"))
    await store.close()

asyncio.run(main(store_of(*sys.argv[1:])))
print("parent wrote", flush=True)
"""


async def test_a_forked_child_holds_nothing_and_writes_nothing(
    make_store: MakeStore, place: str, tmp_path: Path
) -> None:
    with holding(FORKING, place, str(tmp_path / "fork.db")) as process:
        said, _ = await asyncio.to_thread(process.communicate, timeout=100)

    lines = said.splitlines()
    assert lines[0] == "lost False"
    assert "was opened by process" in lines[1]
    assert "open one store in each process" in lines[1]
    assert lines[2:] == ["spool is whole: True", "parent wrote"]
    async with make_store() as store:
        assert [event.job_id for event in await store.read()] == ["sync", "third"]
    with pytest.raises(StoreError):
        await store.head()
