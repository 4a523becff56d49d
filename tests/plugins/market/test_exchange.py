import functools
from datetime import UTC, datetime, timedelta
from typing import Any

import exchange_calendars
import pytest
from exchange_calendars.exchange_calendar_xlon import XLONExchangeCalendar
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gnomon_market.calendars import find_exchange
from gnomon_market.reasons import closed_reason, no_session_reason

# exchange_calendars 4.13 on pandas 3.1, for Hong Kong
pytestmark = pytest.mark.filterwarnings("ignore:DatetimeIndex.weekday:DeprecationWarning")

EXCHANGES = ("XSHG", "XHKG", "XTKS", "XNYS", "XLON", "CMES", "24/7")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES_A_YEAR = 365 * 24 * 60

Row = tuple[datetime, datetime | None, datetime | None, datetime]


def local(name: str, text: str) -> datetime:
    """Read a time as the clocks at the exchange show it."""
    zone = find_exchange(name, NEW_YEAR).zone
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def closed(name: str, text: str, margin: timedelta = timedelta()) -> str | None:
    moment = local(name, text)
    return closed_reason(find_exchange(name, moment), moment, margin)


def no_trading_day(name: str, text: str) -> str | None:
    moment = local(name, text)
    return no_session_reason(find_exchange(name, moment), moment)


# --- the sentences ---


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "XSHG",
            "2026-10-01 10:00",
            (
                "the exchange XSHG is closed on Thursday 2026-10-01: it is a holiday; "
                "it opens next on Thursday 2026-10-08 at 09:30 (Asia/Shanghai)"
            ),
        ),
        (
            "XSHG",
            "2026-10-10 10:00",  # a working Saturday, after the holidays, on which the exchange stays closed
            (
                "the exchange XSHG is closed on Saturday 2026-10-10: it is the weekend; "
                "it opens next on Monday 2026-10-12 at 09:30 (Asia/Shanghai)"
            ),
        ),
        (
            "XSHG",
            "2026-10-09 12:10",
            "the exchange XSHG is in its lunch break until 13:00 on Friday 2026-10-09 (Asia/Shanghai)",
        ),
        (
            "XSHG",
            "2026-10-09 08:00",
            "the exchange XSHG is not open yet on Friday 2026-10-09: it opens at 09:30 (Asia/Shanghai)",
        ),
        (
            "XSHG",
            "2026-10-08 18:00",
            (
                "the exchange XSHG closed at 15:00 on Thursday 2026-10-08; "
                "it opens next on Friday 2026-10-09 at 09:30 (Asia/Shanghai)"
            ),
        ),
        (
            "XNYS",
            "2026-11-27 13:00",
            (
                "the exchange XNYS closed early at 13:00 on Friday 2026-11-27, a half day; "
                "it opens next on Monday 2026-11-30 at 09:30 (America/New_York)"
            ),
        ),
        (
            "NYSE",
            "2026-11-26 13:00",
            (
                "the exchange NYSE is closed on Thursday 2026-11-26: it is a holiday; "
                "it opens next on Friday 2026-11-27 at 09:30 (America/New_York)"
            ),
        ),
        (
            "XHKG",
            "2025-12-24 12:30",
            (
                "the exchange XHKG closed early at 12:00 on Wednesday 2025-12-24, a half day; "
                "it opens next on Monday 2025-12-29 at 09:30 (Asia/Hong_Kong)"
            ),
        ),
        (
            "CMES",
            "2026-10-04 10:00",  # futures open on Sunday evening for the session of Monday
            (
                "the exchange CMES is closed on Sunday 2026-10-04: it is the weekend; "
                "it opens next on Sunday 2026-10-04 at 17:00 (America/Chicago)"
            ),
        ),
    ],
)
def test_a_closed_exchange_says_why_and_when_it_opens(name: str, text: str, sentence: str) -> None:
    assert closed(name, text) == sentence


def test_where_the_calendar_ends_the_next_session_is_said_to_be_unknown() -> None:
    exchange = find_exchange("XSHG", datetime(2100, 1, 1, tzinfo=UTC))
    after_the_last_close = datetime.combine(exchange.last_date, datetime.min.time(), exchange.zone).replace(hour=16)

    reason = closed_reason(exchange, after_the_last_close)

    assert reason is not None
    assert reason.endswith("; when it opens next is not known yet")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2026-10-08 03:00", None),
        ("2026-10-08 12:00", None),
        ("2026-10-08 18:00", None),
        ("2026-10-08 23:59:59", None),
        (
            "2026-10-07 18:00",
            (
                "Wednesday 2026-10-07 is not a trading day of the exchange XSHG: it is a holiday; "
                "the next one is Thursday 2026-10-08 (Asia/Shanghai)"
            ),
        ),
        (
            "2026-10-11 18:00",
            (
                "Sunday 2026-10-11 is not a trading day of the exchange XSHG: it is the weekend; "
                "the next one is Monday 2026-10-12 (Asia/Shanghai)"
            ),
        ),
    ],
)
def test_a_trading_day_lasts_from_midnight_to_midnight_at_the_exchange(text: str, sentence: str | None) -> None:
    assert no_trading_day("XSHG", text) == sentence


def test_a_trading_day_is_one_of_the_zone_of_the_exchange_and_not_of_the_job() -> None:
    saturday_morning_in_shanghai = local("XSHG", "2026-10-10 06:00")
    new_york = find_exchange("XNYS", saturday_morning_in_shanghai)

    assert no_session_reason(new_york, saturday_morning_in_shanghai) is None


# --- the bounds ---


@pytest.mark.parametrize(
    ("name", "text", "is_open"),
    [
        ("XSHG", "2026-10-09 09:29:59.999999", False),
        ("XSHG", "2026-10-09 09:30:00", True),
        ("XSHG", "2026-10-09 11:29:59.999999", True),
        ("XSHG", "2026-10-09 11:30:00", False),
        ("XSHG", "2026-10-09 12:59:59.999999", False),
        ("XSHG", "2026-10-09 13:00:00", True),
        ("XSHG", "2026-10-09 14:59:59.999999", True),
        ("XSHG", "2026-10-09 15:00:00", False),
        ("XNYS", "2026-11-27 12:59:59", True),
        ("XNYS", "2026-11-27 13:00:00", False),
        ("XNYS", "2026-11-30 13:00:00", True),
        ("XHKG", "2025-12-24 11:59:59", True),
        ("XHKG", "2025-12-24 13:00:00", False),
        ("XHKG", "2025-12-23 13:00:00", True),
        ("24/7", "2026-01-01 00:00:00", True),
    ],
)
def test_the_open_belongs_to_the_session_and_the_close_does_not(name: str, text: str, is_open: bool) -> None:
    assert (closed(name, text) is None) == is_open


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("2026-10-09 09:24:59", False),
        ("2026-10-09 09:25:00", True),
        ("2026-10-09 11:34:59", True),
        ("2026-10-09 11:35:00", False),
        ("2026-10-09 12:54:59", False),
        ("2026-10-09 12:55:00", True),
        ("2026-10-09 15:04:59", True),
        ("2026-10-09 15:05:00", False),
        ("2026-10-10 10:00:00", False),
    ],
)
def test_a_margin_widens_both_parts_of_a_session_at_both_ends(text: str, is_open: bool) -> None:
    assert (closed("XSHG", text, timedelta(minutes=5)) is None) == is_open


@pytest.mark.parametrize(
    ("name", "utc", "is_open"),
    [
        ("XNYS", "2026-03-06 13:45", False),  # 08:45, winter time
        ("XNYS", "2026-03-09 13:45", True),  # 09:45, summer time since Sunday
        ("XLON", "2026-03-27 07:30", False),
        ("XLON", "2026-03-30 07:30", True),
        ("XLON", "2026-10-23 07:30", True),
        ("XLON", "2026-10-26 07:30", False),
    ],
)
def test_sessions_follow_the_summer_time_of_the_exchange(name: str, utc: str, is_open: bool) -> None:
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)

    assert (closed_reason(find_exchange(name, moment), moment) is None) == is_open


# --- against the schedule itself, row by row ---


@functools.cache
def rows(name: str) -> list[Row]:
    """Read the schedule in the plainest way, for the year 2026 and a little around it."""
    schedule: Any = exchange_calendars.get_calendar(name).schedule.loc["2025-12-15":"2027-01-15"]
    return [
        tuple(None if str(time) == "NaT" else time.to_pydatetime() for time in row)  # type: ignore[misc]
        for row in schedule.itertuples(index=False)
    ]


def is_open_by_the_rows(name: str, moment: datetime, margin: timedelta) -> bool:
    for opens, break_start, break_end, close in rows(name):
        if break_start is None or break_end is None:
            parts = [(opens, close)]
        else:
            parts = [(opens, break_start), (break_end, close)]
        if any(begin - margin <= moment < end + margin for begin, end in parts):
            return True
    return False


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """Draw any minute of 2026 or, as often, one next to a bound of a session."""
    name = draw(st.sampled_from(EXCHANGES))
    if draw(st.booleans()):
        return name, NEW_YEAR + timedelta(minutes=draw(st.integers(0, MINUTES_A_YEAR - 1)))
    bound = draw(st.sampled_from([time for row in rows(name) for time in row if time and time.year == 2026]))
    return name, bound + timedelta(minutes=draw(st.integers(-31, 31)))


@settings(max_examples=400)
@given(moments(), st.sampled_from([0, 1, 30, 60, 600]))
def test_an_exchange_is_open_exactly_when_its_schedule_says_so(drawn: tuple[str, datetime], minutes: int) -> None:
    name, moment = drawn
    margin = timedelta(minutes=minutes)

    reason = closed_reason(find_exchange(name, moment), moment, margin)

    assert (reason is None) == is_open_by_the_rows(name, moment, margin), reason


@settings(max_examples=200)
@given(moments())
def test_a_trading_day_is_exactly_one_that_the_schedule_lists(drawn: tuple[str, datetime]) -> None:
    name, moment = drawn
    exchange = find_exchange(name, moment)
    assume(exchange.knows(moment))
    calendar: Any = exchange_calendars.get_calendar(name)

    reason = no_session_reason(exchange, moment)

    assert (reason is None) == calendar.is_session(moment.astimezone(calendar.tz).date().isoformat()), reason


# --- what is known ---


def test_a_kernel_that_runs_for_years_gets_a_longer_calendar() -> None:
    in_three_years = datetime.now(UTC) + timedelta(days=3 * 365)

    assert find_exchange("XNYS", in_three_years).knows(in_three_years)


def test_an_exchange_that_records_its_holidays_year_by_year_knows_where_they_end() -> None:
    moment = datetime(2100, 1, 1, tzinfo=UTC)

    assert not find_exchange("XSHG", moment).knows(moment)
    assert find_exchange("XSHG", NEW_YEAR).knows(NEW_YEAR)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("XSGH", "; did you mean 'XSHG'?"),
        ("xlon", "; did you mean 'XLON'?"),
        ("US_futures", "; did you mean 'us_futures'?"),
        ("NASDQ", "; did you mean 'NASDAQ'?"),
        ("Shanghai", "; it knows MICs such as 'XSHG' and 'XLON', and aliases such as 'NYSE'"),
    ],
)
def test_an_unknown_name_is_refused_with_what_was_probably_meant(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match="is unknown") as refused:
        find_exchange(name, NEW_YEAR)

    assert str(refused.value) == f"calendar {name!r} is unknown to exchange_calendars{hint}"


def test_a_calendar_that_cannot_be_built_is_refused_in_one_line() -> None:
    class Broken(XLONExchangeCalendar):  # type: ignore[misc]
        def __init__(self, **_: object) -> None:
            raise NotImplementedError("implemented by subclasses" * 100)

    exchange_calendars.register_calendar_type("BROKEN", Broken)
    try:
        with pytest.raises(ValueError, match="cannot be built") as refused:
            find_exchange("BROKEN", NEW_YEAR)
    finally:
        exchange_calendars.deregister_calendar("BROKEN")

    assert "NotImplementedError: implemented by subclasses" in str(refused.value)
    assert len(str(refused.value)) < 400
