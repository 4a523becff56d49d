from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import (
    Checkpoint,
    DeliveryDelayedError,
    DeliveryRefusedError,
    Destination,
    Duration,
    Event,
    Failed,
    Job,
    Kernel,
    KernelApi,
    Outbox,
    PluginError,
    StoreUnavailableError,
    hookimpl,
)
from gnomon.outbox.delivery import PAGE, SAVE_EVERY
from gnomon.testing import RecordingStore, VirtualClock, make_kernel
from gnomon.testing.clock import MICROSECOND_S
from gnomon_sqlite import SqliteStore


def is_failure(event: Event) -> bool:
    return isinstance(event, Failed)


class Pager:
    """A plugin with an outbox, and what its destinations have received."""

    def __init__(self, *others: Destination, **options: Any) -> None:
        self.sent: list[str] = []
        self.raises: list[BaseException] = []
        options = {"name": "pager", "wants": is_failure, "send": self.send, **options}
        self.outbox = Outbox("pager", [Destination(**options), *others])

    async def send(self, event: Event) -> None:
        if self.raises:
            raise self.raises.pop(0)
        self.sent.append(event.stream)

    @hookimpl
    def lifespan(self, kernel: KernelApi) -> AbstractAsyncContextManager[None]:
        return self.outbox.run(kernel)

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        self.outbox.note(events)

    @property
    def problem(self) -> str | None:
        return self.outbox.problem


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with capture_logs():
        yield


Make = Callable[..., Kernel]


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


class NotingClock(VirtualClock):
    """Notes how long each sleep is asked to be: one that begins in another thread may see the clock late."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await super().sleep(seconds)


@pytest.fixture
def clock() -> NotingClock:
    return NotingClock()


@pytest.fixture
def make(store: RecordingStore, clock: VirtualClock) -> Make:
    job = Job(id="broken", func=lambda: 1 / 0)
    return lambda *plugins: make_kernel(job, plugins=plugins, store=store, clock=clock)


async def fail(kernel: Kernel, times: int = 1) -> list[str]:
    runs = [(await kernel.trigger("broken")).execution.id for _ in range(times)]
    for run in runs:
        await kernel.wait(run)
    return runs


async def test_each_event_is_sent_once_and_in_order(make: Make, clock: VirtualClock) -> None:
    pager = Pager()
    async with make(pager) as kernel:
        runs = await fail(kernel, 3)
        await clock.until(lambda: len(pager.sent) == 3)
        assert pager.problem is None
    async with make(pager):
        pass
    assert pager.sent == runs


async def test_a_new_destination_begins_at_the_end_of_the_log(make: Make, clock: VirtualClock) -> None:
    async with make() as kernel:
        await fail(kernel)
    old = Pager()
    async with make(old) as kernel:
        (run,) = await fail(kernel)
        await clock.until(lambda: old.sent)
    sent: list[str] = []

    async def send(event: Event) -> None:
        sent.append(event.stream)

    both = Pager(Destination(name="late", wants=is_failure, send=send))
    async with make(both) as kernel:
        (second,) = await fail(kernel)
        await clock.until(lambda: sent and both.sent)
    assert (old.sent, both.sent, sent) == ([run], [second], [second])


async def test_a_destination_that_was_removed_does_not_send_the_past_when_it_returns(
    make: Make, clock: VirtualClock
) -> None:
    for names, expected in ((("pager", "second"), 1), (("second",), 1), (("pager", "second"), 1)):
        plugins = Pager(Destination(name="second", wants=lambda _: False, send=print))
        if "pager" not in names:
            plugins.outbox = Outbox("pager", [Destination(name="second", wants=lambda _: False, send=print)])
        async with make(plugins) as kernel:
            runs = await fail(kernel, expected)
            if "pager" in names:
                await clock.until(lambda: plugins.sent)  # noqa: B023
                assert plugins.sent == runs


async def test_what_was_not_accepted_is_sent_again_after_longer_and_longer_pauses(
    make: Make, clock: NotingClock
) -> None:
    times: list[float] = []

    async def send(event: Event) -> None:
        times.append(clock.monotonic())
        raise ConnectionRefusedError("no route")

    pager = Pager(send=send, longest_pause=Duration(seconds=60))
    async with make(pager) as kernel:
        await fail(kernel)
        await clock.until(lambda: len(times) > 8, step=0.5)
        assert pager.problem is not None
        assert "pager does not accept messages: ConnectionRefusedError: no route" in pager.problem
        assert kernel.health().plugins[0].state == "degraded"
    expected = (1, 2, 4, 8, 16, 32, 60, 60)
    assert all(0.8 * longest <= pause <= longest for pause, longest in zip(clock.sleeps, expected, strict=False))
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert all(wait >= pause - MICROSECOND_S for wait, pause in zip(waits, clock.sleeps, strict=False))


async def test_a_destination_may_ask_for_a_longer_pause(make: Make, clock: NotingClock) -> None:
    pager = Pager()
    pager.raises = [DeliveryDelayedError("HTTP 429", 90)]
    async with make(pager) as kernel:
        await fail(kernel)
        await clock.until(lambda: pager.problem)
        began = clock.monotonic()
        await clock.until(lambda: pager.sent, step=1)
        assert clock.monotonic() - began >= 90
        assert clock.sleeps == [90]
        assert pager.problem is None


async def test_what_is_refused_is_not_sent_again_and_shown_until_something_is_accepted(
    make: Make, clock: VirtualClock
) -> None:
    pager = Pager()
    pager.raises = [DeliveryRefusedError("HTTP 410: the channel is archived") for _ in range(2)]
    async with make(pager) as kernel:
        await fail(kernel, 2)
        await clock.until(lambda: not pager.raises)
        await clock.until(lambda: pager.problem and "2 messages" in pager.problem)
    again = Pager()
    async with make(again) as kernel:
        assert again.problem == (
            "pager refused 2 messages, which are not sent again; the last answer: HTTP 410: the channel is archived"
        )
        await fail(kernel)
        await clock.until(lambda: again.sent and again.problem is None)
    assert (pager.sent, len(again.sent)) == ([], 1)


async def test_a_message_that_is_too_old_is_given_up(make: Make, clock: VirtualClock) -> None:
    pager = Pager(give_up_after=Duration(minutes=10))
    pager.raises = [OSError("this event breaks the server")] * 1000
    async with make(pager) as kernel:
        await fail(kernel)
        await clock.until(lambda: pager.problem and "given up after 10m" in pager.problem, step=30)
        pager.raises = []
        (run,) = await fail(kernel)
        await clock.until(lambda: pager.sent == [run])


@pytest.mark.parametrize("kind", ["raises", "hangs", "hangs in a thread", "chooses wrongly"])
async def test_a_destination_holds_no_other_back(kind: str, make: Make, clock: VirtualClock) -> None:
    release = threading.Event()

    async def hang(event: Event) -> None:
        await asyncio.Event().wait()

    async def refuse(event: Event) -> None:
        raise OSError("down")

    def broken(event: Event) -> bool:
        raise AttributeError("Event has no 'reason'")

    def hang_in_thread(event: Event) -> None:
        release.wait()

    sends: dict[str, Callable[[Event], Awaitable[None] | None]] = {"hangs": hang, "hangs in a thread": hang_in_thread}
    send = sends.get(kind, refuse)
    other = Destination(
        name="other",
        wants=broken if kind == "chooses wrongly" else is_failure,
        send=send,
        timeout=Duration(seconds=0.1),
    )
    pager = Pager(other)
    async with make(pager) as kernel:
        runs = await fail(kernel, 3)
        await clock.until(lambda: len(pager.sent) == 3)
        await clock.until(lambda: pager.problem)
        assert pager.problem is not None
        assert pager.problem.startswith("other does not accept messages: ")
        release.set()
    assert pager.sent == runs


async def test_a_function_that_hangs_in_its_thread_is_not_called_in_a_second_one(
    make: Make, clock: VirtualClock
) -> None:
    release, calls = threading.Event(), list[str]()

    def send(event: Event) -> None:
        calls.append(event.stream)
        release.wait()

    pager = Pager(send=send, timeout=Duration(seconds=0.02))
    async with make(pager) as kernel:
        await fail(kernel)
        await clock.until(lambda: pager.outbox.health()[0].failures > 3, step=60)
        assert len(calls) == 1
        release.set()
        await clock.until(lambda: pager.problem is None, step=60)
    assert len(calls) > 1  # on a busy machine a call that does not hang may be slower than the limit, too


async def test_a_stop_sends_what_the_log_still_has_and_waits_for_no_destination_that_is_down(
    make: Make, clock: VirtualClock
) -> None:
    async def down(event: Event) -> None:
        raise OSError("down")

    begun, go_on = asyncio.Event(), threading.Event()

    def slowly(event: Event) -> None:
        kernel_loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        pager.sent.append(event.stream)

    kernel_loop = asyncio.get_running_loop()
    pager = Pager(Destination(name="down", wants=is_failure, send=down), send=slowly)
    async with make(pager) as kernel:
        runs = await fail(kernel, 3)
        await begun.wait()
        go_on.set()
    assert pager.sent == runs
    positions = {one.name: one.position for one in pager.outbox.health()}
    assert positions["down"] < positions["pager"]


async def test_events_that_nobody_wants_are_not_read_from_the_log(
    make: Make, clock: VirtualClock, store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager = Pager(wants=lambda _: False)
    async with make(pager) as kernel:
        await clock.until(lambda: pager.outbox.health()[0].position == kernel.health().position)
        await clock.settle()
        reads: list[int] = []
        read = store.read

        async def counted(after: int = 0, limit: int = 1000) -> Any:
            reads.append(after)
            return await read(after, limit)

        monkeypatch.setattr(store, "read", counted)
        await fail(kernel, 50)
        await clock.until(lambda: pager.outbox.health()[0].position == kernel.health().position)
        assert reads == []
        saved = await kernel.checkpoint("pager")
        await fail(kernel, SAVE_EVERY // 3 + 1)
        await clock.until(lambda: pager.outbox.health()[0].position == kernel.health().position)
        now = await kernel.checkpoint("pager")
        assert saved is not None
        assert now is not None
        assert now.position > saved.position + SAVE_EVERY


async def test_a_backlog_is_read_in_pages(make: Make, clock: VirtualClock, store: RecordingStore) -> None:
    async with make(Pager()) as kernel:
        await clock.until(lambda: kernel.is_idle)
    async with make() as kernel:
        runs = await fail(kernel, PAGE)  # each has three events
    pager = Pager()
    async with make(pager) as kernel:
        await clock.until(lambda: len(pager.sent) == PAGE)
    assert pager.sent == runs


async def test_a_store_that_is_away_for_a_while_loses_nothing(
    make: Make, clock: VirtualClock, store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager, save, is_away = Pager(), store.save_checkpoint, False

    async def save_or_fail(name: str, checkpoint: Checkpoint) -> None:
        if is_away and name == "pager":
            raise StoreUnavailableError("the disk is full")
        await save(name, checkpoint)

    monkeypatch.setattr(store, "save_checkpoint", save_or_fail)
    async with make(pager) as kernel:
        is_away = True
        runs = await fail(kernel, 2)
        await clock.until(lambda: pager.problem == "pager waits for the log: the disk is full")
        is_away = False
        await clock.until(lambda: len(pager.sent) == 2, step=1)
        assert pager.problem is None
    assert pager.sent == runs


async def test_the_checkpoint_of_a_plugin_without_an_outbox_is_continued(
    make: Make, clock: VirtualClock, store: RecordingStore
) -> None:
    async with make() as kernel:
        await kernel.save_checkpoint("pager", Checkpoint(kernel.health().position))
        runs = await fail(kernel)
    pager = Pager()
    async with make(pager):
        await clock.until(lambda: pager.sent == runs)


async def test_an_outbox_refuses_to_run_where_another_process_would_send_the_same(tmp_path: Path) -> None:
    everywhere, file = Pager(), tmp_path / "log.db"
    everywhere.role = "everywhere"  # type: ignore[attr-defined]
    async with Kernel(store=SqliteStore(file)):
        with pytest.raises(PluginError, match='give its plugin role = "leader"'):
            await Kernel(store=SqliteStore(file), role="follower", plugins=[everywhere]).__aenter__()


def test_two_destinations_need_two_names() -> None:
    with pytest.raises(ValueError, match="each destination has its own name"):
        Outbox("pager", [Destination(name="a", wants=is_failure, send=print) for _ in range(2)])


def test_a_default_time_limit_is_shorter_than_forever() -> None:
    assert timedelta() < Destination(name="a", wants=is_failure, send=print).timeout < timedelta(minutes=5)
