"""Trigger objects whose attributes are code that raises anything: they are refused, or fail alone."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from gnomon import GnomonError, Job
from gnomon.testing import VirtualClock, make_kernel

MINUTE = timedelta(minutes=1)
READ = ("__class__", "jitter", "trigger", "triggers", "timezone", "explain", "get_next_fire_time")


class Tide:
    """A trigger of every minute whose attribute of one name raises while the class is armed."""

    armed = False

    def __init__(self, name: str, exception: type[BaseException]) -> None:
        self._name, self._exception = name, exception

    def __getattribute__(self, name: str) -> Any:
        if Tide.armed and name == object.__getattribute__(self, "_name"):
            raise object.__getattribute__(self, "_exception")("at your own risk")
        return object.__getattribute__(self, name)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        return (previous or now) + MINUTE


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    Tide.armed = False


async def neighbour() -> None:
    pass


def jobs(tide: Any) -> list[Job]:
    return [Job(id="tide", func=neighbour, trigger=tide), Job(id="neighbour", func=neighbour, cron="* * * * *")]


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("name", READ)
async def test_a_trigger_that_raises_when_it_is_read_is_refused_or_fails_alone(
    gnomon_clock: VirtualClock, name: str, exception: type[BaseException]
) -> None:
    Tide.armed = True
    served = jobs(Tide(name, exception))
    try:
        kernel = make_kernel(*served, clock=gnomon_clock)
    except GnomonError as exc:
        assert "tide" in str(exc).casefold()  # noqa: PT017 - which of both depends on the attribute
        return
    async with kernel:
        await gnomon_clock.advance(3 * MINUTE)
        assert (await kernel.job("neighbour")).state.newest_fire == gnomon_clock.now()


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("name", READ)
async def test_a_trigger_that_begins_to_raise_harms_no_other_job_and_no_command(
    gnomon_clock: VirtualClock, name: str, exception: type[BaseException]
) -> None:
    tide = Tide(name, exception)
    async with make_kernel(*jobs(tide), clock=gnomon_clock) as kernel:
        await gnomon_clock.advance(3 * MINUTE)
        Tide.armed = True
        now = gnomon_clock.now()
        for command in (
            kernel.jobs,
            lambda: kernel.preview_job({"id": "new", "func": "m:f", "trigger": tide}),
            lambda: kernel.add_job(Job(id="new", func=neighbour, trigger=tide), temporary=True),
            lambda: kernel.add_job(neighbour, id="plain", trigger=tide, temporary=True),
            lambda: kernel.apply_jobs(jobs(tide)),
            lambda: kernel.backfill("tide", now - 2 * MINUTE, now),
            lambda: kernel.skip("tide"),
            lambda: kernel.pause("tide"),
            lambda: kernel.resume("tide"),
            lambda: kernel.trigger("tide"),
        ):
            with suppress(GnomonError):
                await command()
        await gnomon_clock.advance(3 * MINUTE)
        assert (await kernel.job("neighbour")).state.newest_fire == gnomon_clock.now()
