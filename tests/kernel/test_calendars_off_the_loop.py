"""Libraries of calendars, which take seconds to import, are not loaded on the event loop of a kernel."""

import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from gnomon import Job, Kernel, TriggerError
from gnomon.scheduling import calendars
from gnomon.testing import RecordingStore, VirtualClock, make_kernel

HOUR = timedelta(hours=1)


class Open:
    """A calendar without closed days."""

    def closed_until(self, moment: datetime) -> datetime | None:
        return None


class Entry(NamedTuple):
    name: str
    loaded_in: list[threading.Thread]

    def load(self) -> Callable[[str], Open | None]:
        self.loaded_in.append(threading.current_thread())
        return lambda name: Open() if name == "TIDES" else None


@pytest.fixture
def loaded_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.Thread]]:
    """The threads in which the library of the calendar TIDES was imported."""
    threads: list[threading.Thread] = []
    monkeypatch.setattr(calendars, "entry_points", lambda group: [Entry("tides", threads)])
    calendars.find_calendar.cache_clear()
    yield threads
    calendars.find_calendar.cache_clear()


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("tidal_tasks")
    module.report = report  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tidal_tasks", module)
    return module


def report() -> None:
    pass


def keys(**more: Any) -> dict[str, Any]:
    return {"cron": "0 * * * *", "exclude": [{"calendar": "TIDES"}], **more}


def job(**more: Any) -> Job:
    return Job(func="tidal_tasks:report", **keys(**more))


ORDERS: dict[str, Callable[[Kernel], Awaitable[Any]]] = {
    "add": lambda kernel: kernel.add_job(job(id="new")),
    "add by keys": lambda kernel: kernel.add_job("tidal_tasks:report", **keys(id="new")),
    "add many": lambda kernel: kernel.add_jobs([job(id="a"), job(id="b")]),
    "change": lambda kernel: kernel.change_job("plain", exclude=[{"calendar": "TIDES"}]),
    "apply": lambda kernel: kernel.apply_jobs([job(id="own")], owner="ann"),
    "reload": lambda kernel: kernel.apply_jobs([job(id="defined")]),
    "preview": lambda kernel: kernel.preview_job(keys(id="new", func="tidal_tasks:report")),
}


@pytest.mark.parametrize("order", ORDERS)
async def test_an_order_loads_a_calendar_in_a_thread(
    gnomon_clock: VirtualClock, tasks: ModuleType, loaded_in: list[threading.Thread], order: str
) -> None:
    async with make_kernel(clock=gnomon_clock) as kernel:
        await kernel.add_job("tidal_tasks:report", id="plain", cron="0 * * * *")
        await ORDERS[order](kernel)

    assert len(loaded_in) == 1
    assert threading.current_thread() not in loaded_in


async def test_a_start_loads_the_calendars_of_jobs_in_the_log_in_a_thread(
    gnomon_clock: VirtualClock, tasks: ModuleType, loaded_in: list[threading.Thread]
) -> None:
    store = RecordingStore()
    async with make_kernel(store=store, clock=gnomon_clock) as kernel:
        await kernel.add_job(job(id="new"))
    loaded_in.clear()
    calendars.find_calendar.cache_clear()
    async with make_kernel(store=store, clock=gnomon_clock) as kernel:
        await gnomon_clock.advance(HOUR)
        assert (await kernel.job("new")).state.newest_fire == gnomon_clock.now()

    assert len(loaded_in) == 1
    assert threading.current_thread() not in loaded_in


async def test_an_unknown_calendar_is_refused_as_before(
    gnomon_clock: VirtualClock, tasks: ModuleType, loaded_in: list[threading.Thread]
) -> None:
    async with make_kernel(clock=gnomon_clock) as kernel:
        with pytest.raises(TriggerError, match="calendar 'LUNAR' is not available; asked tides"):
            await kernel.add_job(job(id="new", exclude=[{"calendar": "LUNAR"}]))
