"""Triggers one by one; test_cron_all_zones.py has cron against brute force."""

import pickle
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from textwrap import dedent
from zoneinfo import ZoneInfo

import apscheduler.triggers.cron
import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.interval import IntervalTrigger

from gnomon.errors import TriggerError
from gnomon.scheduling.combined_triggers import AndTrigger, OrTrigger
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.foreign_triggers import adopt_trigger, definition_text
from gnomon.scheduling.timezones import parse_timezone
from gnomon.scheduling.trigger_factory import build_trigger
from gnomon.scheduling.triggers import (
    AtTrigger,
    EveryTrigger,
    Trigger,
    explain_trigger,
    is_predictable,
)

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fires(trigger: Trigger, now: datetime, count: int, zone: tzinfo = UTC) -> list[str]:
    """Compute fires as the timetable does, and return the local times with their offset."""
    found: list[str] = []
    fire = trigger.get_next_fire_time(None, now)
    while fire and len(found) < count:
        found.append(fire.astimezone(zone).strftime("%Y-%m-%d %H:%M%z"))
        fire = trigger.get_next_fire_time(fire, now)
    return found


def cron_fires(expression: str, zone: ZoneInfo, start: str, count: int) -> list[str]:
    return fires(CronTrigger(expression, zone), datetime.fromisoformat(start).replace(tzinfo=zone), count, zone)


# --- cron: the dialect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 18 * * 1-5", "Mon Tue Wed Thu Fri"),
        ("0 3 * * 0", "Sun"),
        ("0 3 * * 7", "Sun"),
        ("0 3 * * 5-7", "Fri Sat Sun"),
        ("0 3 * * mon,SAT", "Mon Sat"),
        ("0 3 * jan-dec */2", "Tue Thu Sat Sun"),
    ],
)
def test_weekdays_are_those_of_a_crontab(expression: str, days: str) -> None:
    week = fires(CronTrigger(expression, UTC), datetime(2026, 1, 5, tzinfo=UTC), 7)

    names = [datetime.strptime(fire, "%Y-%m-%d %H:%M%z").strftime("%a") for fire in week]

    assert list(dict.fromkeys(names)) == days.split()


@pytest.mark.parametrize(
    ("expression", "dates"),
    [
        ("0 0 13 * 5", "01-02 01-09 01-13 01-16 01-23"),  # either, as both are restricted
        ("0 0 */2 * 1", "01-05 01-19 02-09 02-23 03-09"),  # both, as one starts with a star
        ("0 0 L * *", "01-31 02-28 03-31 04-30 05-31"),
        ("0 0 LW * *", "01-30 02-27 03-31 04-30 05-29"),
        ("0 0 * * 1#2", "01-12 02-09 03-09 04-13 05-11"),
        ("0 0 * * 5L", "01-30 02-27 03-27 04-24 05-29"),
        ("0 0 1-10/4 1,3 *", "01-01 01-05 01-09 03-01 03-05"),
        ("0 0 5-5/2 * *", "01-05 02-05 03-05 04-05 05-05"),  # cronsim alone reads 5/2
    ],
)
def test_days_are_those_of_a_crontab(expression: str, dates: str) -> None:
    assert [fire[5:10] for fire in fires(CronTrigger(expression, UTC), NOW, 5)] == dates.split()


@pytest.mark.parametrize(
    ("macro", "line"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        (" @weekly ", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_a_macro_is_its_crontab_line(macro: str, line: str) -> None:
    assert CronTrigger(macro, BERLIN) == CronTrigger(line, BERLIN)


def test_six_fields_start_with_seconds() -> None:
    trigger = CronTrigger("*/20 30 4 * * *", UTC)

    first = trigger.get_next_fire_time(None, datetime(2026, 1, 1, 4, 30, 10, tzinfo=UTC))

    assert first == datetime(2026, 1, 1, 4, 30, 20, tzinfo=UTC)


def test_six_fields_keep_a_fixed_time_that_clocks_skip() -> None:
    five, six = (cron_fires(line, BERLIN, "2026-03-28T12:00", 2) for line in ("30 2 * * *", "0 30 2 * * *"))

    assert six == five == ["2026-03-29 03:00+0200", "2026-03-30 02:30+0200"]


def test_the_first_fire_may_be_now_but_the_next_is_after_the_previous() -> None:
    trigger = CronTrigger("*/5 * * * *", BERLIN)
    five = timedelta(minutes=5)

    assert trigger.get_next_fire_time(None, NOW) == NOW
    assert trigger.get_next_fire_time(None, NOW + timedelta(microseconds=1)) == NOW + five
    assert trigger.get_next_fire_time(NOW, NOW) == NOW + five
    assert trigger.get_next_fire_time(NOW - timedelta(microseconds=1), NOW) == NOW


def test_a_late_kernel_is_told_the_fires_that_it_missed() -> None:
    trigger = CronTrigger("0 * * * *", UTC)

    fire = trigger.get_next_fire_time(NOW, NOW + timedelta(days=3))

    assert fire == NOW + timedelta(hours=1)


def test_triggers_of_one_expression_and_zone_are_equal() -> None:
    trigger = CronTrigger("0 3 * * *", BERLIN)

    assert trigger == CronTrigger("0  3 * * *", BERLIN)
    assert hash(trigger) == hash(CronTrigger("0  3 * * *", BERLIN))
    assert trigger != CronTrigger("0 3 * * *", UTC)
    assert trigger != CronTrigger("0 4 * * *", BERLIN)
    assert str(trigger) == "cron[0 3 * * *]"
    assert repr(trigger) == "CronTrigger('0 3 * * *', zoneinfo.ZoneInfo(key='Europe/Berlin'))"


def test_a_hundred_thousand_triggers_of_one_expression_share_what_was_read() -> None:
    one, other = CronTrigger("*/5 * * * *", UTC), CronTrigger("*/5 * * * *", BERLIN)
    start = one._search.dt

    one.get_next_fire_time(None, NOW)

    assert other._search is one._search
    assert other._search.dt == start  # asking one leaves no trace in the others, also in another thread
    assert not hasattr(one, "__dict__")


def test_a_trigger_survives_pickle() -> None:
    trigger = CronTrigger("0 3 * * *", BERLIN)

    copy = pickle.loads(pickle.dumps(trigger))  # noqa: S301

    assert copy == trigger
    assert fires(copy, NOW, 3) == fires(trigger, NOW, 3)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 18 * * 1-5", "At 18:00 on Monday through Friday (Asia/Shanghai)"),
        ("@daily", "At 00:00 every day (Asia/Shanghai)"),
        ("*/5 9-15 * * 1-5", "Every fifth minute from 09:00 through 15:59 on Monday through Friday (Asia/Shanghai)"),
    ],
)
def test_cron_is_explained_in_plain_words_with_its_zone(expression: str, words: str) -> None:
    assert CronTrigger(expression, SHANGHAI).explain() == words


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("61 * * * *", "the minute field '61' is not 0-59"),
        ("0 24 * * *", "the hour field '24' is not 0-23"),
        ("0 0 0 * *", "the day-of-month field '0' is not 1-31"),
        ("0 0 * 13 *", "the month field '13' is not 1-12"),
        ("0 0 * * 8", "the day-of-week field '8' is not 0-7"),
        ("0 0 ? * 1", "the day-of-month field '?' is not 1-31"),
        ("60 0 0 * * *", "the second field '60' is not 0-59"),
        ("*/0 * * * *", "the minute field '*/0' is not 0-59"),
        ("0 18 * *", "has 4 fields, not 5 (minute, hour, day of month, month, day of week) or 6 (seconds first)"),
        ("", "has 0 fields"),
        ("@often", "or one of @yearly"),
        ("0 0 31 2 *", "never fires"),
        ("0 0 30-31 feb *", "never fires"),
        ("0 0 1 2 */8#5", "the day-of-week field"),
    ],
)
def test_a_bad_expression_is_named_with_what_is_wrong_and_an_example(expression: str, message: str) -> None:
    with pytest.raises(TriggerError) as raised:
        CronTrigger(expression, UTC)

    assert repr(expression) in str(raised.value)
    assert message in str(raised.value)
    assert 'for example "0 18 * * 1-5"' in str(raised.value)


def test_a_day_that_comes_once_in_28_years_is_not_called_never() -> None:
    assert fires(CronTrigger("0 0 * 2 1#5", UTC), NOW, 1) == ["2044-02-29 00:00+0000"]


def test_there_is_no_fire_after_the_last_year() -> None:
    assert CronTrigger("0 0 29 2 *", UTC).get_next_fire_time(None, datetime(9997, 1, 1, tzinfo=UTC)) is None


# --- cron: clock changes that once went wrong ------------------------------------------------------------------------


def test_the_months_after_the_spring_change_are_not_lost() -> None:
    # APScheduler 3.11.3 goes from 1 March to 1 May.
    assert cron_fires("0 0 1 * *", NEW_YORK, "2026-02-27T00:00", 3) == [
        "2026-03-01 00:00-0500",
        "2026-04-01 00:00-0400",
        "2026-05-01 00:00-0400",
    ]


def test_the_monday_after_the_spring_change_is_not_lost() -> None:
    assert cron_fires("0 0 * * mon-fri", NEW_YORK, "2026-03-06T00:00", 2) == [
        "2026-03-06 00:00-0500",
        "2026-03-09 00:00-0400",
    ]


def test_an_instant_never_fires_twice_after_a_gap() -> None:
    # APScheduler 3.11.3 says 02:00+01:00 and then 03:00+02:00, which is the same instant.
    assert cron_fires("0,30 2,3 * * *", BERLIN, "2026-03-29T00:00", 3) == [
        "2026-03-29 03:00+0200",
        "2026-03-29 03:30+0200",
        "2026-03-30 02:00+0200",
    ]


def test_a_fixed_time_in_a_repeat_fires_in_its_first_pass_only() -> None:
    assert cron_fires("30 2 * * *", BERLIN, "2026-10-25T00:00", 2) == ["2026-10-25 02:30+0200", "2026-10-26 02:30+0100"]


def test_a_kernel_started_in_the_second_pass_of_a_repeat_does_not_go_backwards() -> None:
    # cronsim 2.8 says 02:30 of the first pass.
    second_pass = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)

    fire = CronTrigger("30 2 * * *", BERLIN).get_next_fire_time(None, second_pass)

    assert fire == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_elapsed_time_runs_through_both_passes_of_a_repeat() -> None:
    assert cron_fires("*/30 2 * * *", BERLIN, "2026-10-25T00:00", 5) == [
        "2026-10-25 02:00+0200",
        "2026-10-25 02:30+0200",
        "2026-10-25 02:00+0100",
        "2026-10-25 02:30+0100",
        "2026-10-26 02:00+0100",
    ]


def test_elapsed_time_does_not_fire_at_times_that_clocks_skip() -> None:
    assert cron_fires("*/30 2 * * *", BERLIN, "2026-03-29T00:00", 1) == ["2026-03-30 02:00+0200"]


def test_a_gap_of_half_an_hour_loses_nothing_after_it() -> None:
    # cronsim 2.8 starts at 03:30.
    lord_howe = ZoneInfo("Australia/Lord_Howe")

    assert cron_fires("*/15 3 * * *", lord_howe, "2026-10-04T00:00", 2) == [
        "2026-10-04 03:00+1100",
        "2026-10-04 03:15+1100",
    ]


def test_a_midnight_that_does_not_exist_is_never_shown() -> None:
    # cronsim 2.8 says 00:00-03:00.
    sao_paulo = ZoneInfo("America/Sao_Paulo")

    assert cron_fires("*/30 0 * * 0", sao_paulo, "2018-11-03T12:00", 1) == ["2018-11-11 00:00-0200"]
    assert cron_fires("0 0 * * *", sao_paulo, "2018-11-03T12:00", 1) == ["2018-11-04 01:00-0200"]


def test_the_day_that_samoa_left_out_fires_at_its_end() -> None:
    assert cron_fires("0 18 * * *", ZoneInfo("Pacific/Apia"), "2011-12-29T00:00", 3) == [
        "2011-12-29 18:00-1000",
        "2011-12-31 00:00+1400",
        "2011-12-31 18:00+1400",
    ]


def test_a_repeat_across_midnight_comes_back_to_the_day_before() -> None:
    # At 00:01 on Sunday St John's goes back to 23:01 on Saturday; cronsim 2.8 leaves these out.
    st_johns = ZoneInfo("America/St_Johns")

    assert cron_fires("*/30 * * * 6", st_johns, "2010-11-06T23:30", 3) == [
        "2010-11-06 23:30-0230",
        "2010-11-06 23:30-0330",
        "2010-11-13 00:00-0330",
    ]


# --- every and at ----------------------------------------------------------------------------------------------------


def test_every_adds_elapsed_time_to_the_previous_fire_or_to_now() -> None:
    every = EveryTrigger(timedelta(hours=1))
    before_the_gap = datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN)

    assert every.get_next_fire_time(None, NOW) == NOW + timedelta(hours=1)
    assert every.get_next_fire_time(before_the_gap, NOW) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (timedelta(minutes=10), "every 10 minutes"),
        (timedelta(minutes=90), "every 1 hour 30 minutes"),
        (timedelta(hours=1), "every hour"),
        (timedelta(days=2, seconds=1), "every 2 days 1 second"),
        (timedelta(milliseconds=500), "every 0.5 seconds"),
    ],
)
def test_every_is_explained_in_plain_words(interval: timedelta, words: str) -> None:
    assert EveryTrigger(interval).explain() == words


@pytest.mark.parametrize("seconds", [0, -5])
def test_an_interval_is_longer_than_zero(seconds: int) -> None:
    with pytest.raises(TriggerError, match="longer than zero"):
        EveryTrigger(timedelta(seconds=seconds))


def test_an_interval_is_one_millisecond_or_longer() -> None:
    assert EveryTrigger(timedelta(milliseconds=1)).interval == timedelta(milliseconds=1)
    with pytest.raises(TriggerError, match=r'must be 1ms or longer, not 1 microsecond: .* every = "1s"'):
        EveryTrigger(timedelta(microseconds=1))
    with pytest.raises(TriggerError, match="must be 1ms or longer, not 999 microseconds"):
        build_trigger({"type": "interval", "seconds": 0.000_999}, UTC)


def test_at_fires_once_and_late_if_need_be() -> None:
    at = AtTrigger(datetime(2026, 12, 1, 9, tzinfo=timezone(timedelta(hours=8))), BERLIN)
    instant = datetime(2026, 12, 1, 1, tzinfo=UTC)

    assert at.get_next_fire_time(None, NOW) == instant
    assert at.get_next_fire_time(None, instant + timedelta(days=1)) == instant
    assert at.get_next_fire_time(instant, instant) is None


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        ("2026-12-01T09:00", "2026-12-01T08:00"),
        ("2026-03-29T02:30", "2026-03-29T01:00"),  # the gap ends
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # the first pass
    ],
)
def test_at_reads_a_naive_time_in_its_zone(wall: str, instant: str) -> None:
    at = AtTrigger(datetime.fromisoformat(wall), BERLIN)

    assert at.at == datetime.fromisoformat(instant).replace(tzinfo=UTC)


def test_at_is_explained_with_its_offset_and_zone() -> None:
    at = AtTrigger(datetime(2026, 12, 1, 1, tzinfo=UTC), SHANGHAI)

    assert at.explain() == "once at 2026-12-01 09:00 +08 (Asia/Shanghai)"


# --- tables of the config --------------------------------------------------------------------------------------------


def test_an_interval_of_apscheduler_counts_from_its_start() -> None:
    trigger = build_trigger({"type": "interval", "minutes": 10, "start_date": "2026-01-01 00:05:00"}, SHANGHAI)

    assert fires(trigger, NOW, 2, SHANGHAI) == ["2026-01-01 08:05+0800", "2026-01-01 08:15+0800"]


def test_a_date_of_apscheduler_is_read_in_the_default_zone() -> None:
    trigger = build_trigger({"type": "date", "run_date": "2026-12-01 09:00:00"}, SHANGHAI)

    assert fires(trigger, NOW, 2) == ["2026-12-01 01:00+0000"]


def test_a_zone_in_the_table_comes_before_the_default() -> None:
    trigger = build_trigger({"type": "date", "run_date": "2026-12-01 09:00:00", "timezone": "Europe/Berlin"}, SHANGHAI)

    assert fires(trigger, NOW, 2) == ["2026-12-01 08:00+0000"]


def test_a_calendar_interval_goes_on_although_the_previous_fire_is_told_in_utc() -> None:
    # Midnight in Shanghai is the day before in UTC; APScheduler adds to the date that it is given.
    spec = {"type": "calendarinterval", "days": 1, "start_date": "2026-01-01"}

    assert fires(build_trigger(spec, SHANGHAI), NOW, 3, SHANGHAI) == [
        "2026-01-02 00:00+0800",
        "2026-01-03 00:00+0800",
        "2026-01-04 00:00+0800",
    ]


def test_a_foreign_trigger_answers_in_utc() -> None:
    trigger = build_trigger({"type": "calendarinterval", "days": 1, "start_date": "2026-01-01"}, SHANGHAI)

    fire = trigger.get_next_fire_time(None, NOW)

    assert fire is not None
    assert fire.tzinfo is UTC


def test_a_trigger_given_in_code_is_adopted() -> None:
    adopted = adopt_trigger(CalendarIntervalTrigger(months=2, start_date="2026-01-31", timezone=SHANGHAI), UTC)
    every = EveryTrigger(timedelta(minutes=1))

    assert fires(adopted, NOW, 2, SHANGHAI) == ["2026-01-31 00:00+0800", "2026-03-31 00:00+0800"]
    assert adopt_trigger(every, UTC) is every
    assert adopt_trigger(adopted, UTC) is adopted


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"expression": "*/5 9-15 * * 1-5"}, "*/5 9-15 * * 1-5"),
        ({"hour": 3}, "0 3 * * *"),
        ({"minute": "*/5"}, "*/5 * * * *"),
        ({"day": "L"}, "0 0 L * *"),
        ({"day_of_week": "1-5", "hour": 18}, "0 18 * * 1-5"),
        ({"day_of_week": 0}, "0 0 * * 0"),
        ({"month": "jan,jul"}, "0 0 1 jan,jul *"),
        ({"second": 10, "minute": 5}, "10 5 * * * *"),
    ],
)
def test_cron_fields_by_name_are_a_crontab_line(fields: dict[str, object], line: str) -> None:
    assert build_trigger({"type": "cron", **fields}, SHANGHAI) == CronTrigger(line, SHANGHAI)


def test_cron_in_a_table_may_name_its_zone() -> None:
    assert build_trigger({"type": "cron", "hour": 3, "timezone": "Europe/Berlin"}, UTC) == CronTrigger(
        "0 3 * * *", BERLIN
    )


def test_or_fires_whenever_one_does_also_within_a_repeat() -> None:
    # Compared by their wall clocks, 02:00 of the second pass would come before 02:30 of the first.
    parts = [{"type": "cron", "expression": "30 2 * * *"}, {"type": "cron", "expression": "0 * * * *"}]
    trigger = build_trigger({"type": "or", "triggers": parts}, BERLIN)

    assert fires(trigger, datetime(2026, 10, 25, 0, tzinfo=UTC), 4, BERLIN) == [
        "2026-10-25 02:00+0200",
        "2026-10-25 02:30+0200",
        "2026-10-25 02:00+0100",
        "2026-10-25 03:00+0100",
    ]


def test_and_fires_when_all_do_and_goes_on_after_its_first_fire() -> None:
    # APScheduler 3.11.3 never returns from the second question.
    parts = [{"type": "cron", "expression": "0 9 13 * *"}, {"type": "cron", "expression": "0 9 * * 5"}]
    trigger = build_trigger({"type": "and", "triggers": parts}, UTC)

    assert fires(trigger, NOW, 3) == ["2026-02-13 09:00+0000", "2026-03-13 09:00+0000", "2026-11-13 09:00+0000"]


def test_and_takes_triggers_that_count_from_their_last_fire() -> None:
    parts = [
        {"type": "calendarinterval", "days": 2, "hour": 6, "start_date": "2026-01-01"},
        {"type": "cron", "expression": "0 6 * * 1"},
    ]
    trigger = build_trigger({"type": "and", "triggers": parts, "timezone": "Asia/Shanghai"}, UTC)

    assert fires(trigger, NOW, 3, SHANGHAI) == [
        "2026-01-05 06:00+0800",
        "2026-01-19 06:00+0800",
        "2026-02-02 06:00+0800",
    ]


def test_and_is_over_when_one_of_its_triggers_is() -> None:
    once = {"type": "date", "run_date": "2026-01-02 06:00:00"}
    trigger = build_trigger({"type": "and", "triggers": [once, {"type": "cron", "hour": 6}]}, UTC)

    assert fires(trigger, NOW, 5) == ["2026-01-02 06:00+0000"]


def test_triggers_that_never_agree_are_over_instead_of_searching_for_ever() -> None:
    even, odd = CronTrigger("0 0 1 1 *", UTC), CronTrigger("0 0 29 2 *", UTC)

    assert AndTrigger([even, odd]).get_next_fire_time(None, NOW) is None
    assert AndTrigger([even, AtTrigger(NOW.replace(year=2100), UTC)]).get_next_fire_time(None, NOW) is None


def test_a_trigger_of_another_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        from datetime import timedelta
        class Tide:
            def __init__(self, port):
                self.port = port
            def get_next_fire_time(self, previous_fire_time, now):
                return (previous_fire_time or now) + timedelta(hours=12)
            def __str__(self):
                return f"tide[{self.port}]"
    """
    (tmp_path / "tides.py").write_text(dedent(source))
    (tmp_path / "tides-1.0.dist-info").mkdir()
    (tmp_path / "tides-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: tides\nVersion: 1.0\n")
    (tmp_path / "tides-1.0.dist-info/entry_points.txt").write_text(
        "[apscheduler.triggers]\ntide = tides:Tide\nebb = tides:Ebb\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tides", raising=False)

    tide = build_trigger({"type": "tide", "port": "Emden"}, BERLIN)

    assert tide.get_next_fire_time(None, NOW) == NOW + timedelta(hours=12)
    assert explain_trigger(tide) == "tide[Emden]"
    with pytest.raises(TriggerError, match=r"'ebb' \(tides:Ebb\) cannot be loaded"):
        build_trigger({"type": "ebb"}, BERLIN)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"type": "intervall", "minutes": 1},
            "unknown trigger type 'intervall', perhaps 'interval'; known are and, cal",
        ),
        ({"type": ["cron"]}, "unknown trigger type"),
        ({"minutes": 10}, "a trigger table needs a type"),
        ({"type": "interval", "minuts": 10}, "trigger 'interval' has no argument 'minuts', perhaps 'minutes'"),
        ({"type": "interval", "minutes": "ten"}, "minutes = ten"),
        ({"type": "interval", "minutes": -10}, "minutes = -10"),
        ({"type": "interval", "minutes": 0}, "needs one of weeks, days, hours, minutes, seconds"),
        ({"type": "interval"}, "needs one of weeks, days, hours, minutes, seconds"),
        ({"type": "date", "run_date": "tomorrow"}, "run_date = tomorrow"),
        ({"type": "date"}, "needs a run_date"),
        ({"type": "interval", "days": 10**12}, "days = 1000000000000"),
        ({"type": "or", "triggers": [{"type": "cron", "hour": 1}], "jitter": -1}, "jitter must be a number of seconds"),
        ({"type": "calendarinterval", "months": "2"}, "months = 2"),
        ({"type": "calendarinterval", "days": 1, "hour": 25}, "hour = 25"),
        ({"type": "interval", "minutes": 1, "timezone": "Asia/Shangai"}, "perhaps 'Asia/Shanghai'"),
        ({"type": "cron"}, "needs either an expression or some of"),
        ({"type": "cron", "expression": "0 0 * * *", "hour": 3}, "needs either an expression or some of"),
        ({"type": "cron", "hours": 3}, "trigger 'cron' has no argument 'hours', perhaps 'hour'"),
        ({"type": "cron", "jitter": 3}, "trigger 'cron' has no argument 'jitter'"),
        ({"type": "cron", "hour": 24}, "the hour field '24' is not 0-23"),
        ({"type": "and"}, "needs a list of tables"),
        ({"type": "or", "triggers": "cron"}, "needs a list of tables"),
        ({"type": "or", "triggers": [{"type": "crom"}]}, "perhaps 'cron'"),
        ({"type": "and", "triggers": [{"type": "cron", "hour": 1}], "jitter": 3}, "has no argument 'jitter'"),
    ],
)
def test_a_bad_table_is_told_what_is_wrong(spec: Mapping[str, object], message: str) -> None:
    with pytest.raises(TriggerError) as raised:
        build_trigger(spec, UTC)

    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"type": "interval", "minutes": 10}, "every 10 minutes"),
        ({"type": "interval", "hours": 1, "jitter": 30}, "every hour, and up to 30 seconds later at random"),
        ({"type": "date", "run_date": "2026-12-01 09:00:00"}, "once at 2026-12-01 09:00 +08 (Asia/Shanghai)"),
        ({"type": "calendarinterval", "months": 2, "hour": 10}, "every 2 months at 10:00 (Asia/Shanghai)"),
        ({"type": "calendarinterval", "weeks": 1}, "every 7 days at 00:00 (Asia/Shanghai)"),
        ({"type": "calendarinterval", "years": 1, "days": 1}, "every year and day at 00:00 (Asia/Shanghai)"),
        (
            {"type": "or", "triggers": [{"type": "cron", "hour": 6}, {"type": "interval", "days": 3}]},
            "whenever one of these: At 06:00 every day (Asia/Shanghai); every 3 days",
        ),
        (
            {"type": "and", "triggers": [{"type": "cron", "hour": 6}, {"type": "cron", "day_of_week": 1, "hour": 6}]},
            "whenever all agree: At 06:00 every day (Asia/Shanghai); At 06:00 on Monday (Asia/Shanghai)",
        ),
    ],
)
def test_any_trigger_is_explained_in_plain_words(spec: Mapping[str, object], words: str) -> None:
    assert explain_trigger(build_trigger(spec, SHANGHAI)) == words


def test_a_trigger_of_an_unknown_kind_is_explained_by_its_own_text() -> None:
    hourly = apscheduler.triggers.cron.CronTrigger(minute=5, timezone=SHANGHAI)

    assert explain_trigger(hourly) == explain_trigger(adopt_trigger(hourly, UTC)) == str(hourly)


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, RuntimeError])
def test_a_trigger_whose_text_raises_is_still_explained(raised: type[BaseException]) -> None:
    def fail(_: object) -> str:
        raise raised(3)

    def hourly(_: object, previous: datetime | None, now: datetime) -> datetime:
        return (previous or now) + timedelta(hours=1)

    methods = {"get_next_fire_time": hourly, "__str__": fail, "__repr__": fail, "__class__": property(fail)}
    hostile = type("Hostile", (), {**methods, "__module__": "tides"})()
    shown = "(tides.Hostile that cannot be shown)"

    wrapped = adopt_trigger(hostile, UTC)
    assert wrapped.get_next_fire_time(None, NOW) == NOW + timedelta(hours=1)
    assert str(wrapped) == definition_text(hostile) == explain_trigger(wrapped) == explain_trigger(hostile) == shown
    assert shown in repr(wrapped)
    assert explain_trigger(type("Tide", (), {"explain": fail, "__str__": lambda _: "tide"})()) == "tide"
    assert shown in explain_trigger(OrTrigger([wrapped, EveryTrigger(timedelta(hours=1))]))


def test_only_jitter_is_unpredictable() -> None:
    plain = {"type": "interval", "minutes": 10}
    shaky = {**plain, "jitter": 5}

    assert is_predictable(CronTrigger("0 3 * * *", UTC))
    assert is_predictable(build_trigger(plain, UTC))
    assert is_predictable(build_trigger({"type": "or", "triggers": [plain, plain]}, UTC))
    assert not is_predictable(build_trigger(shaky, UTC))
    assert not is_predictable(build_trigger({"type": "or", "triggers": [plain, shaky]}, UTC))
    assert not is_predictable(build_trigger({"type": "and", "triggers": [plain, shaky]}, UTC))
    assert not is_predictable(IntervalTrigger(minutes=10, jitter=5, timezone=UTC))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Asia/Shangai", "perhaps 'Asia/Shanghai'"),
        ("shanghai", "perhaps 'Asia/Shanghai'"),
        ("europe/berlni", "perhaps 'Europe/Berlin'"),
        ("Europe", "unknown time zone 'Europe'"),
        ("../etc/passwd", "unknown time zone '../etc/passwd'"),
        ("", "unknown time zone ''"),
        ("no such zone at all", 'such as "Asia/Shanghai"'),
    ],
)
def test_an_unknown_zone_is_told_with_a_near_one(name: str, hint: str) -> None:
    with pytest.raises(TriggerError) as raised:
        parse_timezone(name)

    assert hint in str(raised.value)


def test_a_known_zone_is_read() -> None:
    assert parse_timezone("Asia/Shanghai") is SHANGHAI
