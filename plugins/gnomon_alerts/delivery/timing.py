"""When a channel sends which alerts: grouping, repeats, quiet hours and silence; pure functions of time and ledger."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from gnomon_alerts.delivery.config import Channel
from gnomon_alerts.delivery.ledger import NOT_NEWS, ChannelRecord, Notice

Status = Literal["opened", "repeated", "resolved", "over"]
"""What a message says of an alert: it has opened, it is still open, it has ended, or both since the last message."""

QUIET_LOOK = timedelta(seconds=30)
"""How often quiet hours are looked at while something waits for their end: local clocks jump."""


class Due(msgspec.Struct, frozen=True):
    """Alerts of one message, as they were when it was due: copies. `group` is what they have in common."""

    group: str
    items: list[tuple[Status, Notice]]


class Plan(msgspec.Struct, frozen=True):
    """The message to send now, or the moment to look again, None for when something changes."""

    due: Due | None = None
    look_at: datetime | None = None


def plan(channel: Channel, record: ChannelRecord, now: datetime, *, is_closing: bool = False) -> Plan:
    """Return what a channel has to send at a moment; at the end of a kernel nothing waits for others."""
    waiting, looks = list[tuple[datetime, Status, Notice]](), list[datetime]()
    for notice in record.notices.values():
        found = _status(channel, notice, now)
        if isinstance(found, tuple):
            waiting.append((*found, notice))
        elif found is not None:
            looks.append(found)
    if not waiting:
        return Plan(look_at=min(looks, default=None))
    if channel.is_quiet(now):
        awake = [one for one in waiting if channel.wakes_for(one[2].severity)]
        looks += [now + QUIET_LOOK] if len(awake) < len(waiting) else []
        waiting = awake
    if not waiting:
        return Plan(look_at=min(looks))
    groups = dict[str, list[tuple[datetime, Status, Notice]]]()
    for one in waiting:
        groups.setdefault(group_of(channel, one[2]), []).append(one)
    send_at, first = min((_send_at(channel, record, name, group), name) for name, group in groups.items())
    if now < send_at and not is_closing:
        return Plan(look_at=min([send_at, *looks]))
    ordered = sorted(groups[first], key=lambda one: (one[0], one[2].id))
    return Plan(due=Due(first, [(status, msgspec.structs.replace(notice)) for _, status, notice in ordered]))


def _send_at(
    channel: Channel, record: ChannelRecord, name: str, group: Iterable[tuple[datetime, Status, Notice]]
) -> datetime:
    """Return when a group is complete, and the message before it old enough."""
    complete = min(ready for ready, _, _ in group) + channel.group_wait
    before = record.last_sent.get(name)
    return complete if before is None else max(complete, before + channel.interval)


def forget_what_is_not_news(record: ChannelRecord, channel: Channel) -> None:
    """Remove alerts that have ended and need no message."""
    for notice in list(record.notices.values()):
        if notice.resolved_at is None:
            continue
        is_silent_end = notice.told_at is not None and not channel.recovery
        if is_silent_end or (notice.told_at is None and notice.resolution in NOT_NEWS):
            del record.notices[notice.id]


def _status(channel: Channel, notice: Notice, now: datetime) -> tuple[datetime, Status] | datetime | None:
    """Return since when what is due, or the moment to look again."""
    if notice.resolved_at is not None:
        return (notice.resolved_at, "resolved" if notice.told_at is not None else "over")
    if notice.is_silenced(now):
        ends = [end for end in (notice.snoozed_until, notice.acknowledged_until) if end is not None and end > now]
        return min(ends, default=None)
    if notice.told_at is None:
        return (notice.opened_at, "opened")
    if notice.snoozed_until is not None and notice.told_at < notice.snoozed_until <= now:
        return (notice.snoozed_until, "repeated")
    if channel.repeat <= timedelta():
        return None
    again = notice.told_at + channel.repeat
    return (again, "repeated") if again <= now else again


def group_of(channel: Channel, notice: Notice) -> str:
    """Return the name of the group with which an alert is sent."""
    match channel.group_by:
        case "job":
            return notice.job_id or f"{notice.kind}:{notice.subject}"
        case "rule":
            return notice.rule
        case "alert":
            return notice.id
        case _:
            return ""
