import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gnomon import GnomonError, Job, Kernel
from gnomon.integrations.celery_beat import read_beat_schedule
from gnomon.integrations.job_import import JobImport
from gnomon.scheduling.catch_up import fires

celery = pytest.importorskip("celery", reason="there is no Celery: pip install celery")
NUMBERS = count()
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)

APP = """
from datetime import timedelta

from celery import Celery
from celery.schedules import crontab, schedule, solar

app = Celery("shop", broker="memory://")
app.conf.timezone = "Asia/Shanghai"


@app.task
def add(x, y=1):
    return x + y


@app.task(bind=True)
def bound(self, x):
    return [self.name, x]


@app.task(name="%(module)s_renamed")
def other():
    return "renamed"


def make():
    @app.task
    def nested():
        pass

    return nested


nested = make()
sunset = solar.__new__(solar)  # its constructor needs ephem
sunset.event, sunset.lat, sunset.lon = "sunset", -37.8, 144.96
both = crontab(minute=0, hour="*/6", day_of_month="1-7", day_of_week="monday")
night = crontab(minute=30, hour="2", day_of_week="mon-fri")
app.conf.beat_schedule = {
    "every ten": {"task": "%(module)s.add", "schedule": timedelta(minutes=10), "args": (1,), "kwargs": {"y": 2}},
    "seconds": {"task": "%(module)s.add", "schedule": 30.0, "args": [1], "options": {"queue": "slow", "expires": 60}},
    "schedule": {"task": "%(module)s_renamed", "schedule": schedule(timedelta(hours=1))},
    "nightly": {"task": "%(module)s.bound", "schedule": night, "args": [1]},
    "both": {"task": "%(module)s_renamed", "schedule": both},
    "sunset": {"task": "%(module)s_renamed", "schedule": sunset},
    "unknown": {"task": "nowhere", "schedule": 1.0},
    "nested": {"task": nested.name, "schedule": 1.0},
    "wrong": {"task": "%(module)s.add", "schedule": 1.0},
    "odd": {"task": "%(module)s_renamed", "schedule": "daily"},
}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Provide the name of a module with a Celery application."""
    name = f"celery_app_{next(NUMBERS)}"  # Celery registers tasks for the whole process
    (tmp_path / f"{name}.py").write_text(dedent(APP.replace("%(module)s", name)))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def reasons(found: JobImport) -> dict[str, str]:
    return {one.name: one.reason for one in found.refused}


def test_a_beat_schedule_becomes_jobs(module: str) -> None:
    found = read_beat_schedule(module)
    (ten, seconds, hourly, nightly, both) = found.jobs

    assert (ten.func, ten.every, ten.args, ten.kwargs) == (f"{module}:add", timedelta(minutes=10), [1], {"y": 2})
    assert (seconds.every, seconds.grace) == (timedelta(seconds=30), timedelta(minutes=1))
    assert (hourly.func, hourly.every) == (f"{module}:other", timedelta(hours=1))
    assert (nightly.cron, nightly.timezone) == ("30 2 * * mon,tue,wed,thu,fri", "Asia/Shanghai")
    assert both.trigger["type"] == "and"


def test_what_cannot_be_taken_is_reported_with_the_reason(module: str) -> None:
    refused = reasons(read_beat_schedule(module))

    assert sorted(refused) == ["nested", "odd", "sunset", "unknown", "wrong"]
    assert "sunrise and sunset" in refused["sunset"]
    assert "no task 'nowhere' is registered" in refused["unknown"]
    assert "within another function" in refused["nested"]
    assert "cannot be called with" in refused["wrong"]
    assert "of type str" in refused["odd"]


def test_options_of_the_broker_are_noted(module: str) -> None:
    notes = [(note.job_id, note.text) for note in read_beat_schedule(f"{module}:app").notes]

    assert ("seconds", "its options queue are not taken: there is no broker") in notes


async def test_imported_tasks_run_in_the_kernel(module: str) -> None:
    found = read_beat_schedule(module)

    async with Kernel(jobs=found.jobs) as kernel:
        returned = {}
        for job in found.jobs:
            run = await kernel.trigger(job.id)
            returned[job.id] = (await kernel.wait(run.execution.id)).return_value

    assert returned["seconds"] == 2
    assert returned["nightly"] == [f"{module}.bound", 1]
    assert returned["schedule"] == "renamed"


@pytest.mark.parametrize(
    "fields",
    [
        {"minute": "*/15"},
        {"minute": 0, "hour": "8-18/2", "day_of_week": "1-5"},
        {"minute": 30, "hour": 2, "day_of_month": "1,15"},
        {"minute": 0, "hour": 0, "month_of_year": "*/3", "day_of_month": 1},
        {"minute": 5, "hour": 4, "day_of_week": "sun,wed", "day_of_month": "1-7"},
    ],
    ids=str,
)
def test_a_crontab_keeps_its_fires(fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    from celery import Celery
    from celery.schedules import crontab

    app = Celery("x", broker="memory://", set_as_current=False)
    module = ModuleType("fires_of_celery")
    module.CELERY_BEAT_SCHEDULE = {  # type: ignore[attr-defined]
        "x": {"task": "time.time", "schedule": crontab(**fields, app=app)}
    }
    monkeypatch.setitem(sys.modules, "fires_of_celery", module)

    (job,) = read_beat_schedule("fires_of_celery").jobs

    assert ours(job) == theirs(crontab(**fields, app=app))


def ours(job: Job) -> list[datetime]:
    trigger = job.build_trigger()
    assert trigger is not None
    return list(islice(fires(trigger, NOON, NOON, NOON + timedelta(days=4000)), 5))


def theirs(schedule: Any) -> list[datetime]:
    found = [NOON]
    while len(found) < 6:
        last = found[-1]
        schedule.nowfun = lambda last=last: last
        found.append((last + schedule.remaining_estimate(last)).astimezone(UTC))
    return found[1:]


def test_a_module_without_a_schedule_is_an_error() -> None:
    with pytest.raises(GnomonError, match="json has no beat schedule"):
        read_beat_schedule("json")
    with pytest.raises(GnomonError, match="no module 'no_such_module_x'"):
        read_beat_schedule("no_such_module_x")
