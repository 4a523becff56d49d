import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import ConfigError, ExecutionQuery, Job, Kernel
from gnomon.deployment.assembly import Deployment, assemble
from gnomon.deployment.config import load_config
from gnomon.plugins.plugin_set import PluginSet
from gnomon.testing.clock import VirtualClock
from gnomon_market import MarketPlugin
from gnomon_market.calendars import find_exchange

FRIDAY_NOON_IN_SHANGHAI = datetime(2026, 10, 9, 4, tzinfo=UTC)


async def work() -> None:
    """Return at once."""


def job(cron: str | None = None, *, paused: bool = False, **options: Any) -> Job:
    return Job(id="sync", func=work, cron=cron, timezone="Asia/Shanghai", paused=paused, options=options)


@asynccontextmanager
async def running(start: datetime, *jobs: Job) -> AsyncIterator[tuple[Kernel, VirtualClock]]:
    clock = VirtualClock(start)
    plugins = PluginSet()
    plugins.add(MarketPlugin, "market")
    async with Kernel(jobs=jobs, plugins=plugins, clock=clock) as kernel:
        clock.is_idle = lambda: kernel.is_idle
        yield kernel, clock


async def outcomes(kernel: Kernel) -> list[tuple[str, str]]:
    """List how the fires of the job ended, the oldest first, by the day and time in UTC at which they were due."""
    page = await kernel.executions(ExecutionQuery(job_id="sync", limit=100))
    return [(f"{e.scheduled_time:%a %H:%M}", e.status) for e in reversed(page.items)]


# --- in a kernel ---


async def test_fires_outside_of_the_session_are_missed_with_the_reason() -> None:
    every_hour = job("0 9-16 * * *", calendar="XSHG")

    async with running(datetime(2026, 10, 9, 0, tzinfo=UTC), every_hour) as (kernel, clock):
        await clock.advance(timedelta(hours=12))
        found = await outcomes(kernel)
        page = await kernel.executions(ExecutionQuery(job_id="sync"))

    assert found == [
        ("Fri 01:00", "missed"),
        ("Fri 02:00", "success"),
        ("Fri 03:00", "success"),
        ("Fri 04:00", "missed"),
        ("Fri 05:00", "success"),
        ("Fri 06:00", "success"),
        ("Fri 07:00", "missed"),
        ("Fri 08:00", "missed"),
    ]
    last = page.items[0]
    assert last.reason == "guard"
    assert last.detail == (
        "the exchange XSHG closed at 15:00 on Friday 2026-10-09; "
        "it opens next on Monday 2026-10-12 at 09:30 (Asia/Shanghai)"
    )


async def test_a_job_for_trading_days_runs_in_the_evening_but_not_on_holidays_and_weekends() -> None:
    daily = job("0 18 * * *", calendar="XSHG", calendar_hours="trading_day")

    async with running(datetime(2026, 10, 6, 12, tzinfo=UTC), daily) as (kernel, clock):
        await clock.advance(timedelta(days=6))
        found = await outcomes(kernel)

    assert found == [
        ("Wed 10:00", "missed"),
        ("Thu 10:00", "success"),
        ("Fri 10:00", "success"),
        ("Sat 10:00", "missed"),
        ("Sun 10:00", "missed"),
        ("Mon 10:00", "success"),
    ]


async def test_a_trigger_by_hand_is_held_back_unless_it_is_forced() -> None:
    async with running(FRIDAY_NOON_IN_SHANGHAI, job(calendar="XSHG")) as (kernel, clock):
        held_back = await kernel.trigger("sync")
        await clock.advance(1)
        forced = await kernel.trigger("sync", force=True)
        ended = await kernel.wait(forced.execution.id)

    assert (held_back.execution.status, held_back.execution.reason) == ("missed", "guard")
    assert held_back.execution.detail == (
        "the exchange XSHG is in its lunch break until 13:00 on Friday 2026-10-09 (Asia/Shanghai)"
    )
    assert ended.status == "success"


async def test_a_job_without_a_calendar_runs_as_ever() -> None:
    async with running(FRIDAY_NOON_IN_SHANGHAI, job("0 * * * *")) as (kernel, clock):
        await clock.advance(timedelta(hours=2, minutes=1))
        found = await outcomes(kernel)

    assert {status for _, status in found} == {"success"}


async def test_a_fire_that_is_caught_up_in_the_evening_counts_as_of_when_it_was_due() -> None:
    late = job("30 10 * * *", calendar="XSHG", paused=True)

    async with running(datetime(2026, 10, 9, 2, tzinfo=UTC), late) as (kernel, clock):
        await clock.advance(timedelta(hours=10))
        await kernel.resume("sync")
        await clock.settle()
        found = await outcomes(kernel)

    assert found[-1] == ("Fri 02:30", "success")


# --- the guard alone ---


def test_a_margin_is_taken_from_the_options_of_the_job() -> None:
    plugin, soon_after_the_break_began = MarketPlugin(), datetime(2026, 10, 9, 3, 32, tzinfo=UTC)

    assert plugin.guard(job(calendar="XSHG"), soon_after_the_break_began) is not None
    assert plugin.guard(job(calendar="XSHG", calendar_margin="5m"), soon_after_the_break_began) is None


def test_the_keys_of_other_plugins_do_not_disturb() -> None:
    among_others = job(calendar="XSHG", notify={"mail": True})

    assert MarketPlugin().guard(among_others, FRIDAY_NOON_IN_SHANGHAI) is not None


def test_beyond_the_end_of_the_calendar_jobs_run_and_the_log_says_so_once_a_day() -> None:
    plugin, far_away = MarketPlugin(), datetime(2100, 1, 2, 4, tzinfo=UTC)

    with capture_logs() as logs:
        reasons = [plugin.guard(job(calendar="XSHG"), far_away + timedelta(hours=hours)) for hours in (0, 1, 24)]

    assert reasons == [None, None, None]
    assert [entry["event"] for entry in logs] == ["exchange calendar has ended, its jobs run"] * 2
    assert logs[0]["calendar"] == "XSHG"
    assert logs[0]["remedy"] == "upgrade exchange_calendars"


def test_the_end_of_a_calendar_is_announced_before_it_comes() -> None:
    plugin = MarketPlugin()
    last_date = find_exchange("XSHG", datetime(2100, 1, 1, tzinfo=UTC)).last_date
    noon = datetime(last_date.year, last_date.month, last_date.day, 4, tzinfo=UTC)

    with capture_logs() as logs:
        held_back = plugin.guard(job(calendar="XSHG"), noon - timedelta(days=31))
        plugin.guard(job(calendar="XSHG"), noon - timedelta(days=29))

    assert held_back is not None
    assert [entry["event"] for entry in logs] == ["exchange calendar ends"]
    assert logs[0]["last_date"] == last_date.isoformat()


# --- in a config ---


@pytest.fixture
def assembled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Deployment]:
    """Assemble a deployment with this plugin and one job, which has the given keys."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def assemble_with(keys: str) -> Deployment:
        config = tmp_path / "gnomon.toml"
        config.write_text(
            f'[plugins.market]\n[plugins.memory]\n[[jobs]]\nid = "sync"\nfunc = "time:time"\ncron = "* * * * *"\n{keys}'
        )
        return assemble(load_config(config, {}))

    return assemble_with


@pytest.mark.parametrize(
    "keys",
    ['calendar = "NYSE"', 'calendar = "XSHG"\ncalendar_margin = "5m"', 'calendar = "XLON"\ncalendar_hours = "session"'],
)
def test_a_config_takes_calendars_and_their_aliases(assembled: Callable[[str], Deployment], keys: str) -> None:
    deployment = assembled(keys)

    assert deployment.jobs[0].options["calendar"] in {"NYSE", "XSHG", "XLON"}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('calendar = "XSGH"', "jobs[0 'sync']: calendar 'XSGH' is unknown to exchange_calendars; did you mean 'XSHG'?"),
        (
            'calendar = "XSHG"\ncalendar_hours = "trading_days"',
            (
                "jobs[0 'sync'].calendar_hours: expected one of 'session', 'trading_day', got 'trading_days'; "
                "did you mean 'trading_day'?"
            ),
        ),
        ('calendar_hours = "trading_day"', "jobs[0 'sync']: 'calendar' is missing"),
        (
            'calendar = "XSHG"\ncalendar_hours = "trading_day"\ncalendar_margin = "5m"',
            "jobs[0 'sync']: calendar_margin widens a session; it has no effect if calendar_hours is 'trading_day'",
        ),
    ],
)
def test_a_config_is_checked_before_anything_runs(
    assembled: Callable[[str], Deployment], keys: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        assembled(keys)

    assert refused.value.problems == [problem]


# --- without pandas ---


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n" + textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_the_plugin_is_imported_and_made_without_pandas() -> None:
    printed = run_python("""
        from gnomon.plugins.plugin_set import PluginSet
        from gnomon_market import MarketPlugin
        PluginSet().add(MarketPlugin, "market")
        print(sorted({"pandas", "numpy", "exchange_calendars"} & sys.modules.keys()))
    """)

    assert printed == "[]"


def test_without_exchange_calendars_enabling_it_says_what_to_install() -> None:
    printed = run_python("""
        from importlib.machinery import PathFinder

        class Blocker:
            find_spec = staticmethod(
                lambda name, *rest: None if name == "exchange_calendars" else PathFinder.find_spec(name, *rest)
            )

        sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder] + [Blocker]
        from gnomon.errors import PluginError
        from gnomon.plugins.plugin_set import PluginSet
        from gnomon_market import MarketPlugin
        try:
            PluginSet().add(MarketPlugin, "market")
        except PluginError as exc:
            print(exc)
    """)

    assert printed == (
        "plugin 'market' cannot be created: ModuleNotFoundError: there is no module 'exchange_calendars'; "
        "install it with: pip install 'gnomon[market]'"
    )
