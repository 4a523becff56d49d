"""When a channel sends which alerts: grouping, repeats, quiet hours and silence; pure functions of time and ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from gnomon.wire.alerts import Alert
from gnomon_alerts.book import copy_of, state_at
from gnomon_alerts.delivery.config import Channel
from gnomon_alerts.delivery.ledger import ChannelRecord

Status = Literal["opened", "repeated", "resolved", "over"]
"""What a message says of an alert: it has opened, it is still open, it has ended, or both since the last message."""

NOT_NEWS: Final = frozenset({"by_hand", "rule", "removed"})
"""Ends that do not interest people who were not notified of the beginning."""
QUIET_LOOK = timedelta(seconds=30)
"""How often quiet hours are looked at while something waits for their end: local clocks jump."""


class Notice(msgspec.Struct, frozen=True):
    """What a message says of an alert: a copy of it, as it was when the message was due.

    `ready` is since when it is due, `told_at` when the channel accepted the message before.
    """

    status: Status
    alert: Alert
    ready: datetime
    told_at: datetime | None = None


class Due(msgspec.Struct, frozen=True):
    """The alerts of one message. `group` is what they have in common."""

    group: str
    notices: list[Notice]

    @property
    def alerts(self) -> list[Alert]:
        """The alerts, as they were when the message was due."""
        return [notice.alert for notice in self.notices]


class Plan(msgspec.Struct, frozen=True):
    """The message to send now, or the moment to look again, None for when something changes."""

    due: Due | None = None
    look_at: datetime | None = None


def plan(
    channel: Channel, record: ChannelRecord, alerts: Mapping[str, Alert], now: datetime, *, is_closing: bool = False
) -> Plan:
    """Return what a channel has to send at a moment; at the end of a kernel nothing waits for others."""
    waiting, looks = list[Notice](), list[datetime]()
    for alert_id, told_at in record.told.items():
        alert = alerts.get(alert_id)
        found = _status(channel, alert, told_at, now) if alert is not None else None
        if isinstance(found, Notice):
            waiting.append(found)
        elif found is not None:
            looks.append(found)
    if waiting and channel.is_quiet(now):
        awake = [one for one in waiting if channel.wakes_for(one.alert.severity)]
        looks += [now + QUIET_LOOK] if len(awake) < len(waiting) else []
        waiting = awake
    if not waiting:
        return Plan(look_at=min(looks, default=None))
    groups = dict[str, list[Notice]]()
    for one in waiting:
        groups.setdefault(group_of(channel, one.alert), []).append(one)
    send_at, first = min((_send_at(channel, record, name, group, now), name) for name, group in groups.items())
    if now < send_at and not is_closing:
        return Plan(look_at=min([send_at, *looks]))
    ordered = sorted(groups[first], key=lambda one: (one.ready, one.alert.id))
    return Plan(due=Due(first, [msgspec.structs.replace(one, alert=copy_of(one.alert)) for one in ordered]))


def _send_at(channel: Channel, record: ChannelRecord, name: str, group: Iterable[Notice], now: datetime) -> datetime:
    """Return when a group is complete, and the message before it old enough.

    A moment to come is of a clock that was set back since: it delays nothing.
    """
    ready, before = min(one.ready for one in group), record.last_sent.get(name)
    complete = ready + channel.group_wait if ready <= now else now
    return complete if before is None or before > now else max(complete, before + channel.interval)


def forget_what_is_not_news(record: ChannelRecord, channel: Channel, alerts: Mapping[str, Alert]) -> None:
    """Remove alerts that have ended and need no message, and those that the book no longer has."""
    for alert_id, told_at in list(record.told.items()):
        alert = alerts.get(alert_id)
        if alert is not None and alert.resolved_at is None:
            continue
        is_silent_end = told_at is not None and not channel.recovery
        if alert is None or is_silent_end or (told_at is None and alert.resolution in NOT_NEWS):
            del record.told[alert_id]


def _status(channel: Channel, alert: Alert, told_at: datetime | None, now: datetime) -> Notice | datetime | None:
    """Return what is due, or the moment to look again."""
    if alert.resolved_at is not None:
        return Notice("resolved" if told_at is not None else "over", alert, alert.resolved_at, told_at)
    snooze, acknowledgement = alert.snooze, alert.acknowledgement
    if state_at(alert, now) != "firing":
        ends = [one.until for one in (snooze, acknowledgement) if one is not None]
        return min((end for end in ends if end is not None and end > now), default=None)
    if told_at is None:
        return Notice("opened", alert, alert.opened_at)
    if snooze is not None and told_at < snooze.until <= now:
        return Notice("repeated", alert, snooze.until, told_at)
    if channel.repeat <= timedelta():
        return None
    again = told_at + channel.repeat
    return Notice("repeated", alert, again, told_at) if again <= now else again


def group_of(channel: Channel, alert: Alert) -> str:
    """Return the name of the group with which an alert is sent."""
    match channel.group_by:
        case "job":
            return alert.job_id or f"{alert.kind}:{alert.subject}"
        case "rule":
            return alert.rule
        case "alert":
            return alert.id
        case _:
            return ""
