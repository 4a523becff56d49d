"""Runs that have ended while their bodies go on: a thread cannot be stopped, and must not run beside the next one."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from gnomon import Duration, Failed, Job, Kernel, LateResult, Missed, Retry, Started, Succeeded
from gnomon.testing import EventList, VirtualClock

Make = Callable[..., Kernel]
HOUR = timedelta(hours=1)


class Body:
    """A body in a thread that ignores every request to stop, until `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self.at_once = self.most_at_once = 0

    def __call__(self) -> str:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.release()
        self.go_on.wait(60)
        self.at_once -= 1
        return "done"


@pytest.fixture
def body() -> Iterator[Body]:
    body = Body()
    yield body
    body.go_on.set()


def job(body: Body, **policies: Any) -> Job:
    def run() -> str:
        return body()

    return Job(id="job", func=run, **policies)


async def begin(kernel: Kernel, body: Body, job_id: str = "job") -> str:
    identity = (await kernel.trigger(job_id)).execution.id
    assert await asyncio.to_thread(body.begun.acquire, timeout=60)
    return identity


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a thread ends
            await asyncio.sleep(0.001)


async def test_a_run_that_is_marked_as_failed_keeps_its_slot_until_its_body_has_ended(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, body: Body
) -> None:
    async with gnomon_kernel(job(body, every=Duration(hours=1), overlap="skip")) as kernel:
        identity = await begin(kernel, body)
        await kernel.fail(identity, "it hangs", actor="ann")

        view = await kernel.job("job")
        assert (view.running, view.lingering) == ([], [identity])

        await gnomon_clock.advance(HOUR)
        (missed,) = gnomon_events.of(Missed)
        assert (missed.reason, missed.blocked_by) == ("overlap", identity)
        assert missed.detail == f"run {identity} had ended, but its body was still running, and overlap is 'skip'"

        body.go_on.set()
        await until(lambda: gnomon_events.of(LateResult))
        assert (await kernel.job("job")).lingering == []
        await gnomon_clock.advance(HOUR)
        await until(lambda: gnomon_events.of(Succeeded))

    assert body.most_at_once == 1


async def test_a_retry_after_a_timeout_waits_for_the_body_to_end(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, body: Body
) -> None:
    policies: dict[str, Any] = {"timeout": Duration(minutes=1), "cancel_grace": Duration(seconds=1)}
    async with gnomon_kernel(job(body, retry=Retry(attempts=2), **policies)) as kernel:
        identity = await begin(kernel, body)
        await gnomon_clock.advance(2 * HOUR)

        (failed,) = gnomon_events.of(Failed)
        view = await kernel.job("job")
        assert failed.reason == "timeout"
        assert (view.lingering, len(view.waiting), len(gnomon_events.of(Started))) == ([identity], 1, 1)

        body.go_on.set()
        await until(lambda: gnomon_events.of(Succeeded))

    assert body.most_at_once == 1


async def test_other_jobs_get_its_slot_of_the_kernel(gnomon_kernel: Make, gnomon_events: EventList, body: Body) -> None:
    async def other() -> None: ...

    async with gnomon_kernel(job(body), other, max_running=1) as kernel:
        identity = await begin(kernel, body)
        waiting = (await kernel.trigger("other")).execution.id
        assert (await kernel.job("other")).waiting == [waiting]

        await kernel.fail(identity, "it hangs")
        await kernel.wait(waiting)

        assert kernel.health().running == 0
        assert (await kernel.job("job")).lingering == [identity]
        body.go_on.set()
        await until(lambda: gnomon_events.of(LateResult))


@pytest.mark.parametrize("has_ended", [False, True])
async def test_force_releases_the_slot_while_the_body_runs(
    gnomon_kernel: Make, gnomon_events: EventList, body: Body, has_ended: bool
) -> None:
    async with gnomon_kernel(job(body)) as kernel:
        identity = await begin(kernel, body)
        if has_ended:
            await kernel.fail(identity, "it hangs")

        failed = await kernel.fail(identity, "it hangs", force=True)
        await begin(kernel, body)

        assert failed.status == "failed"
        assert len(gnomon_events.of(Failed)) == 1
        assert (await kernel.job("job")).lingering == []
        assert body.most_at_once == 2
        body.go_on.set()
        await until(lambda: gnomon_events.of(LateResult) and gnomon_events.of(Succeeded))
