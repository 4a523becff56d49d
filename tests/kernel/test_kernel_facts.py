"""Facts about the kernel itself in the log: its start, its stop, its clock; and who reads them."""

import getpass
import os
import socket
from datetime import timedelta
from typing import Any

import pytest

from gnomon import ClockChanged, Duration, Job, Kernel, KernelEvent, KernelLed, KernelStarted, KernelStopped, hookimpl
from gnomon.analysis.explain import explain
from gnomon.domain.events import Event
from gnomon.domain.records import ActionQuery
from gnomon.domain.rollback import Rollback
from gnomon.errors import StoreError
from gnomon.stores.schedule_versions import present_versions
from gnomon.testing import RecordingStore, VirtualClock, check_store, make_kernel
from gnomon.testing.clock import START

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


async def nothing() -> None:
    pass


def job(**keys: Any) -> Job:
    return Job(id="a", func=nothing, **(keys or {"cron": "*/10 * * * *"}))


class LosableStore(RecordingStore):
    is_lost = False

    async def append(self, *args: Any) -> None:
        if self.is_lost:
            raise StoreError("it belongs to another process")
        await super().append(*args)


class World:
    """A log, a clock, and one kernel after the other."""

    def __init__(self) -> None:
        self.clock, self.store = VirtualClock(), LosableStore()

    def kernel(self, *jobs: Job, **settings: Any) -> Kernel:
        return make_kernel(*jobs or [job()], clock=self.clock, store=self.store, **settings)

    @property
    def facts(self) -> list[KernelEvent]:
        return self.store.recorded.of(KernelEvent)

    async def explained(self, moment: Any) -> str:
        await self.store.open(read_only=True)
        found = await explain(self.store, "a", moment, self.clock.now())
        return " ".join(found.sentences).replace("2026-01-01 ", "")


@pytest.fixture
def world() -> World:
    return World()


async def test_a_start_and_a_stop_are_facts_in_a_stream_of_their_own(world: World) -> None:
    async with world.kernel() as kernel:
        await world.clock.advance(MINUTE)
        kernel.stop_reason = "SIGTERM"
    async with world.kernel(keeps_time=False):
        pass

    first, led, stopped, second, closed = world.facts
    assert isinstance(first, KernelStarted)
    assert isinstance(led, KernelLed)
    assert (led.why, led.pid, led.deployment, led.versions) == ("start", os.getpid(), 1, first.versions)
    assert (first.host, first.pid, first.actor) == (socket.gethostname(), os.getpid(), getpass.getuser())
    assert first.versions.items() >= present_versions().items()
    assert first.versions.keys() == {"gnomon", "python", *present_versions()}
    assert (first.position, first.version, first.at, first.job_id, first.node) == (1, 1, START, "", "test")
    assert first.accepted_rollback is None
    assert isinstance(stopped, KernelStopped)
    assert (stopped.stream, stopped.version, stopped.reason) == (first.stream, 3, "SIGTERM")
    assert isinstance(second, KernelStarted)
    assert second.stream != first.stream
    assert (first.keeps_time, second.keeps_time) == (True, False)
    assert isinstance(closed, KernelStopped)
    await world.store.open(read_only=True)
    await check_store(world.store)


async def test_a_stop_tells_what_ended_the_kernel(world: World) -> None:
    class BrokenPlugin:
        @hookimpl
        def lifespan(self) -> Any:
            raise ZeroDivisionError

    with pytest.raises(KeyError):
        async with world.kernel():
            raise KeyError
    with pytest.raises(Exception, match="BrokenPlugin"):
        async with world.kernel(plugins=[BrokenPlugin()]):
            pass

    reasons = [fact.reason for fact in world.facts if isinstance(fact, KernelStopped)]
    assert reasons == ["KeyError was raised", "its start failed"]


async def test_a_kernel_that_lost_its_log_leaves_no_stop(world: World) -> None:
    async with world.kernel(job(every=Duration(minutes=1))):
        world.store.is_lost = True
        await world.clock.advance(2 * MINUTE)

    assert [type(fact) for fact in world.facts] == [KernelStarted, KernelLed]


async def test_plugins_receive_the_facts_in_the_order_of_the_log(world: World) -> None:
    class Listener:
        def __init__(self) -> None:
            self.heard: list[Event] = []

        @hookimpl
        def on_event(self, event: Event) -> None:
            self.heard.append(event)

    listener = Listener()
    async with world.kernel(plugins=[listener]):
        await world.clock.advance(11 * MINUTE)
        await world.clock.jump(HOUR)

    assert listener.heard == world.store.recorded
    assert [type(event) for event in listener.heard if isinstance(event, KernelEvent)] == [
        KernelStarted,
        KernelLed,
        ClockChanged,
        KernelStopped,
    ]


@pytest.mark.parametrize("by", [HOUR, -HOUR, 6 * SECOND, -6 * SECOND])
async def test_a_clock_that_is_set_is_a_fact_with_both_clocks(world: World, by: timedelta) -> None:
    async with world.kernel():
        await world.clock.advance(5 * MINUTE)
        await world.clock.jump(by)
        await world.clock.advance(5 * MINUTE)

    (change,) = world.store.recorded.of(ClockChanged)
    assert change.direction == ("forward" if by > timedelta() else "back")
    assert change.microseconds == abs(by) / timedelta(microseconds=1)
    assert change.wall_microseconds - change.monotonic_microseconds == by / timedelta(microseconds=1)
    assert change.monotonic_microseconds >= 0
    assert change.at == START + 5 * MINUTE + by


async def test_small_steps_of_the_clock_are_no_facts(world: World) -> None:
    async with world.kernel():
        for by in (4 * SECOND, -4 * SECOND, 2 * SECOND):
            await world.clock.jump(by)
            await world.clock.advance(MINUTE)

    assert world.store.recorded.of(ClockChanged) == []


async def test_a_rollback_that_was_accepted_is_a_fact_and_an_action(world: World) -> None:
    world.store.rollback = Rollback(last=3, expected=9)
    async with world.kernel() as kernel:
        (action,) = (await kernel.actions(ActionQuery())).items
        assert (await kernel.actions(ActionQuery(job_id="a"))).total == 0

    assert (action.action, action.actor, action.at) == ("accept_rollback", getpass.getuser(), START)
    assert (action.job_id, action.execution_id) == ("", None)
    assert action.detail == "the log had lost events 4 to 9"
    (started,) = world.store.recorded.of(KernelStarted)
    assert started.accepted_rollback == Rollback(last=3, expected=9)


# --- what explain says ---


async def test_explain_tells_a_kernel_that_was_killed_from_one_that_was_stopped(world: World) -> None:
    async with world.kernel():
        await world.clock.advance(15 * MINUTE)
        world.store.is_lost = True  # from now on nothing is written, as after kill -9
    world.store.is_lost = False
    await world.clock.advance(HOUR)
    async with world.kernel():
        await world.clock.advance(MINUTE)

    said = await world.explained(START + 30 * MINUTE)

    assert (
        "No kernel was running: the kernel ended without a stop, and its last event is from 00:10 UTC; "
        "the next one started at 01:15 UTC on test."
    ) in said


async def test_explain_does_not_take_a_suspended_kernel_for_one_that_was_away(world: World) -> None:
    async with world.kernel():
        await world.clock.advance(15 * MINUTE)
        await world.clock.stall(12 * MINUTE)
        await world.clock.advance(MINUTE)

    said = await world.explained(START + 20 * MINUTE)

    assert "It ran late, by 7 m 00 s" in said
    assert "The kernel did not process it until 00:27 UTC. The log does not say why: it has neither a pause" in said


async def test_explain_names_a_clock_that_was_set_forward_over_a_fire(world: World) -> None:
    async with world.kernel():
        await world.clock.advance(15 * MINUTE)
        await world.clock.jump(12 * MINUTE)
        await world.clock.advance(MINUTE)

    said = await world.explained(START + 20 * MINUTE)

    assert "The clock went from 00:15 UTC to 00:27 UTC at once: it was set forward" in said
