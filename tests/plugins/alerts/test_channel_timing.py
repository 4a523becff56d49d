"""When a channel sends what: grouping, repeats, quiet hours, acknowledgements; pure functions of log and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gnomon import (
    AlertAcknowledged,
    AlertOpened,
    AlertRepeated,
    AlertResolved,
    AlertSnoozed,
    Duration,
)
from gnomon_alerts.book import Book
from gnomon_alerts.delivery.config import Channel, QuietHours, Route
from gnomon_alerts.delivery.ledger import ChannelRecord, Ledger, from_checkpoint, to_checkpoint
from gnomon_alerts.delivery.timing import forget_what_is_not_news, plan

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class Story:
    """A channel, the events about alerts in the log, and the messages that it sends."""

    def __init__(self, **channel: Any) -> None:
        self.channel = Channel(name="ops", command=["true"], **channel)
        self.book, self.record = Book(), ChannelRecord(0)
        self.now = NOON

    def tell(self, event_type: Any, alert: str = "a", /, **given: Any) -> None:
        number = self.book.position + 1
        facts: dict[str, Any] = {
            "at": self.now,
            "node": "n",
            "job_id": "sync",
            "stream": "kernel:k",
            "version": number,
            **given,
        }
        self.book.apply(event_type(position=number, alert_id=alert, **facts))
        self.record.note(self.book, lambda _: True)

    def open(self, alert: str = "a", /, **facts: Any) -> None:
        about = {"rule": "failed", "kind": "failed", "severity": "error", "since": self.now, "message": "failed"}
        self.tell(AlertOpened, alert, **about | facts)

    def resolve(self, alert: str = "a", /, **facts: Any) -> None:
        self.tell(AlertResolved, alert, **{"why": "succeeded"} | facts)

    def sends(self, after: timedelta = timedelta(), *, is_closing: bool = False) -> list[str]:
        """Advance the time, and return what the next message has, as status:alert."""
        self.now += after
        forget_what_is_not_news(self.record, self.channel, self.book.alerts)
        found = plan(self.channel, self.record, self.book.alerts, self.now, is_closing=is_closing)
        if found.due is None:
            assert found.look_at is None or found.look_at > self.now
            return []
        self.record.settle(found.due.group, found.due.alerts, self.now, self.channel.interval)
        return [f"{notice.status}:{notice.alert.id}" for notice in found.due.notices]

    def looks_at(self) -> timedelta | None:
        found = plan(self.channel, self.record, self.book.alerts, self.now)
        return None if found.look_at is None else found.look_at - self.now


def test_changes_within_the_wait_become_one_message() -> None:
    story = Story()
    story.open("a")
    assert (story.sends(), story.looks_at()) == ([], 10 * SECOND)
    story.now += 4 * SECOND
    story.open("b")
    assert story.sends(6 * SECOND) == ["opened:a", "opened:b"]
    assert story.sends(HOUR) == []


def test_a_message_follows_the_one_before_after_the_interval() -> None:
    story = Story()
    story.open("a")
    assert story.sends(10 * SECOND) == ["opened:a"]
    story.open("b")
    assert story.sends(20 * SECOND) == []
    story.resolve("a")
    assert story.sends(40 * SECOND) == ["opened:b", "resolved:a"]


def test_what_is_open_is_sent_again_and_its_end_once() -> None:
    story = Story(repeat=Duration(hours=4))
    story.open()
    assert story.sends(10 * SECOND) == ["opened:a"]
    story.tell(AlertRepeated, count=7, last=story.now, message="failed 7 times")
    assert story.sends(3 * HOUR) == []
    assert story.looks_at() == HOUR
    assert story.sends(HOUR + 10 * SECOND) == ["repeated:a"]
    assert story.book.alerts["a"].count == 7
    story.resolve()
    assert story.sends(MINUTE) == ["resolved:a"]
    assert story.record.told == {}


def test_repeats_and_ends_may_be_turned_off() -> None:
    story = Story(repeat=Duration(0), recovery=False)
    story.open()
    assert story.sends(10 * SECOND) == ["opened:a"]
    assert (story.sends(1000 * HOUR), story.looks_at()) == ([], None)
    story.resolve()
    assert (story.sends(MINUTE), story.record.told) == ([], {})


def test_what_begins_and_ends_before_a_message_is_one_line_of_it() -> None:
    story = Story()
    story.open("a")
    story.resolve("a")
    assert story.sends(10 * SECOND) == ["over:a"]
    story.open("b")
    story.resolve("b", why="by_hand")
    assert story.sends(MINUTE) == []
    assert story.record.told == {}


def test_what_is_acknowledged_is_not_sent_but_its_end_is() -> None:
    story = Story()
    story.open()
    assert story.sends(10 * SECOND) == ["opened:a"]
    story.tell(AlertAcknowledged)
    assert story.sends(100 * HOUR) == []
    story.resolve()
    assert story.sends(MINUTE) == ["resolved:a"]


def test_an_acknowledgement_ends_at_its_time_with_the_next_repetition_or_when_it_is_withdrawn() -> None:
    for facts, then in (
        ({"until": NOON + 6 * HOUR}, None),
        ({"until_next": True}, AlertRepeated),
        ({}, AlertAcknowledged),
    ):
        story = Story(repeat=Duration(hours=1))
        story.open()
        assert story.sends(10 * SECOND) == ["opened:a"]
        story.tell(AlertAcknowledged, **facts)
        assert story.sends(5 * HOUR) == []
        if then is AlertRepeated:
            story.tell(AlertRepeated, count=2, last=story.now, message="failed")
        elif then is AlertAcknowledged:
            story.tell(AlertAcknowledged, withdrawn=True)
        assert story.sends(HOUR) == ["repeated:a"]


def test_one_that_is_acknowledged_before_its_message_needs_none() -> None:
    story = Story()
    story.open()
    story.tell(AlertAcknowledged)
    assert story.sends(HOUR) == []
    story.resolve(why="by_hand")
    assert story.sends(HOUR) == []


def test_a_snoozed_alert_is_sent_again_at_the_end_of_the_snooze() -> None:
    story = Story(repeat=Duration(0))
    story.open()
    assert story.sends(10 * SECOND) == ["opened:a"]
    story.tell(AlertSnoozed, until=story.now + 2 * HOUR)
    assert story.looks_at() == 2 * HOUR
    assert story.sends(HOUR) == []
    assert story.sends(HOUR + 10 * SECOND) == ["repeated:a"]
    assert story.sends(HOUR) == []


def test_a_channel_has_its_own_least_severity_and_a_condition_of_the_past_is_not_sent() -> None:
    story = Story()
    story.open(backdated=True)
    assert story.record.told == {}
    assert Channel(name="a", command=["true"], severity="error").wants("critical")
    assert not Channel(name="a", command=["true"], severity="error").wants("warning")


@pytest.mark.parametrize(
    ("group_by", "messages"),
    [
        ("all", [["opened:a", "opened:b", "opened:c"]]),
        ("job", [["opened:a", "opened:b"], ["opened:c"]]),
        ("rule", [["opened:a", "opened:c"], ["opened:b"]]),
        ("alert", [["opened:a"], ["opened:b"], ["opened:c"]]),
    ],
)
def test_alerts_are_grouped(group_by: Any, messages: list[list[str]]) -> None:
    story = Story(group_by=group_by)
    story.open("a", job_id="sync", rule="failed")
    story.open("b", job_id="sync", rule="missed")
    story.open("c", job_id="load", rule="failed")
    story.now += 10 * SECOND
    assert sorted(story.sends() for _ in messages) == messages
    assert story.sends() == []


def test_at_the_end_of_a_kernel_nothing_waits_for_more() -> None:
    story = Story(group_wait=Duration(hours=1))
    story.open()
    assert story.sends() == []
    assert story.sends(is_closing=True) == ["opened:a"]
    assert story.sends(is_closing=True) == []


def test_quiet_hours_hold_back_what_is_not_critical() -> None:
    story = Story(quiet=[QuietHours("12:00", "14:00")])
    story.open("a")
    story.open("b", severity="critical")
    assert story.sends(10 * SECOND) == ["opened:b"]
    story.open("c")
    story.resolve("c")
    assert story.sends(HOUR) == []
    assert story.looks_at() == 30 * SECOND
    assert story.sends(HOUR) == ["opened:a", "over:c"]


@pytest.mark.parametrize(
    ("moment", "is_quiet"),
    [
        ("2026-03-06T21:59:59+01:00", False),
        ("2026-03-06T22:00:00+01:00", True),  # a Friday
        ("2026-03-07T06:59:59+01:00", True),
        ("2026-03-07T07:00:00+01:00", False),
        ("2026-03-07T23:00:00+01:00", False),  # Saturday is not in the list
        ("2026-03-27T21:30:00+00:00", True),
        ("2026-03-28T05:30:00+00:00", True),
        ("2026-03-29T05:30:00+00:00", False),  # the clocks were set forward in this night, which began on a Saturday
        ("2026-03-30T20:30:00+00:00", True),  # 22:30 in summer time
        ("2026-03-30T05:30:00+00:00", False),
    ],
)
def test_quiet_hours_follow_the_clock_of_their_zone(moment: str, is_quiet: bool) -> None:
    hours = QuietHours("22:00", "07:00", days=["mon", "tue", "wed", "thu", "fri"])
    channel = Channel(name="ops", command=["true"], quiet=[hours], timezone="Europe/Berlin")
    assert channel.is_quiet(datetime.fromisoformat(moment)) is is_quiet


def test_a_route_fits_by_rule_job_tag_and_severity() -> None:
    route = Route(channels=["ops"], jobs=["etl-*"], tags=["night"], severity="error")
    assert route.fits("failed", "critical", "etl-load", ["night", "big"])
    assert not route.fits("failed", "warning", "etl-load", ["night"])
    assert not route.fits("failed", "error", "load", ["night"])
    assert not route.fits("failed", "error", "etl-load", ["day"])
    assert Route(channels=[], rules=["miss*"]).fits("missed", "info", "", [])


def test_a_clock_that_is_set_back_delays_no_message() -> None:
    story = Story(interval=Duration(hours=1))
    story.open("a")
    assert story.sends(10 * SECOND) == ["opened:a"]
    story.open("b")
    assert story.sends(-2 * HOUR) == ["opened:b"]


def test_a_channel_notes_an_alert_once_and_begins_where_it_is_added() -> None:
    story = Story()
    story.open("a")
    late = ChannelRecord(story.book.position)
    story.open("b")
    story.resolve("a")
    assert late.note(story.book, lambda _: True)
    assert not late.note(story.book, lambda _: True)
    assert list(late.told) == ["b"]
    assert (story.record.waiting(story.book.alerts), late.waiting(story.book.alerts)) == (2, 1)
    assert story.sends(10 * SECOND) == ["over:a", "opened:b"]
    assert not story.record.note(story.book, lambda _: True)
    assert story.record.waiting(story.book.alerts) == 0


def test_the_book_keeps_an_ended_alert_until_every_channel_has_been_told() -> None:
    story = Story()
    story.open("a")
    story.open("b")
    story.resolve("a")
    story.resolve("b")
    story.book.forget_old(story.now + 1000 * HOUR, wanted={"a"})
    assert story.sends(MINUTE) == ["over:a"]
    assert story.record.told == {}


def test_a_ledger_is_the_same_after_a_restart_and_one_of_another_version_is_not_read() -> None:
    story = Story()
    story.open()
    story.sends(2 * HOUR)
    ledger = Ledger({"ops": story.record})
    assert from_checkpoint(to_checkpoint(ledger)) == ledger
    with pytest.raises(ValueError, match="another Gnomon"):
        from_checkpoint(to_checkpoint(msgspec.structs.replace(ledger, version=99)))
