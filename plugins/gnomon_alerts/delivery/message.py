"""The words of a notification, and the JSON of a webhook."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from gnomon.domain.alert_events import RANK
from gnomon.durations import Duration
from gnomon.text import shorten, shorten_line
from gnomon.wire.alerts import Alert
from gnomon_alerts.delivery.timing import Due, Notice, Status

MOST_SHOWN = 20
"""Alerts of one message that have their own lines; the others are counted."""
LONGEST_ERROR = 300

_WORDS: Mapping[Status, str] = {
    "opened": "new", "repeated": "still open", "resolved": "resolved", "over": "new and resolved",
}  # fmt: skip


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An alert in a message. `status` is opened, repeated, resolved, or over: opened and ended since the last one."""

    id: str
    status: str
    rule: str
    kind: str
    severity: str
    job_id: str | None
    subject: str | None
    message: str
    since: datetime
    count: int
    error: str | None
    first_execution: str | None
    last_execution: str | None
    resolved_at: datetime | None
    resolution: str | None
    url: str | None
    next: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A notification: the body of a webhook, and the input of a command.

    `key` is the same when the same message is sent again, and `status` is `resolved` where nothing in it is open.
    `more` counts the alerts that `alerts` leaves out.
    """

    key: str
    status: str
    severity: str
    title: str
    text: str
    channel: str
    node: str
    log_id: str
    sent_at: datetime
    alerts: list[Item] = []
    more: int = 0
    is_test: bool = False
    version: int = 1


class Surroundings(msgspec.Struct, frozen=True):
    """Where a message is from: the kernel, and the address of its dashboard where there is one."""

    node: str
    log_id: str
    public_url: str | None = None

    def link(self, alert: Alert) -> str | None:
        """Return the address of the run, the job or the list of alerts in the dashboard."""
        if self.public_url is None:
            return None
        if alert.last_execution is not None:
            return f"{self.public_url}/runs/{quote(alert.last_execution)}"
        return f"{self.public_url}/jobs/{quote(alert.job_id, safe='')}" if alert.job_id else f"{self.public_url}/alerts"


def compose(channel: str, due: Due, errors: Mapping[str, str], where: Surroundings, now: datetime) -> Message:
    """Return the message about some alerts; `errors` has the first line of the error of runs by their ids."""
    alerts, shown = due.alerts, due.notices[:MOST_SHOWN]
    is_open = any(alert.resolved_at is None for alert in alerts)
    blocks = [_block(notice, errors, where, now) for notice in shown]
    if more := len(alerts) - len(shown):
        blocks.append(f"… and {more} more: gnomon alerts")
    return Message(
        key=_key(channel, due),
        status="firing" if is_open else "resolved",
        severity=max((alert.severity for alert in alerts), key=RANK.__getitem__),
        title=_title(due.notices),
        text="\n\n".join([*blocks, f"{where.node}, {_clock(now)}"]),
        channel=channel,
        node=where.node,
        log_id=where.log_id,
        sent_at=now,
        alerts=[_item(notice, errors, where) for notice in shown],
        more=more,
    )


def compose_test(channel: str, where: Surroundings, now: datetime) -> Message:
    """Return the message of `gnomon alerts test`."""
    text = f"This is a test of the channel {channel!r}. Nothing has failed, and nothing is to be done."
    return Message(
        key=f"test-{channel}-{now:%Y%m%d%H%M%S%f}",
        status="test",
        severity="info",
        title=f"Test of the channel {channel}",
        text=f"{text}\n\n{where.node}, {_clock(now)}",
        channel=channel,
        node=where.node,
        log_id=where.log_id,
        sent_at=now,
        is_test=True,
    )


def to_builtins(message: Message) -> dict[str, Any]:
    """Return a message as JSON data."""
    data: dict[str, Any] = msgspec.to_builtins(message)
    return data


def _title(notices: Sequence[Notice]) -> str:
    if len(notices) == 1:
        alert = notices[0].alert
        return shorten_line(f"[{_word(alert)}] {_headline(alert)}", 200)
    counts = {word: sum(notice.status == one for notice in notices) for one, word in _WORDS.items()}
    return f"{len(notices)} alerts: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _block(notice: Notice, errors: Mapping[str, str], where: Surroundings, now: datetime) -> str:
    alert, ended = notice.alert, notice.alert.resolved_at
    lines = [f"[{_word(alert)}] {_headline(alert)}"]
    length = _length((ended or now) - alert.since)
    times = f", {alert.count} times" if alert.count > 1 else ""
    if ended is not None:
        how = (alert.resolution or "").replace("_", " ")
        lines.append(f"Resolved at {_clock(ended)} after {length}{times}" + (f" ({how})" if how else ""))
    else:
        again = " (still open)" if notice.status == "repeated" else ""
        lines.append(f"Since {_clock(alert.since)}, for {length}{times}{again}")
    if error := _error(alert, errors):
        lines.append(f"Error: {error}")
    if link := where.link(alert):
        lines.append(link)
    if ended is None:
        lines.append(f"Next: {_next(alert)}")
    return "\n".join(lines)


def _item(notice: Notice, errors: Mapping[str, str], where: Surroundings) -> Item:
    alert = notice.alert
    return Item(
        id=alert.id,
        status=notice.status,
        rule=alert.rule,
        kind=alert.kind,
        severity=alert.severity,
        job_id=alert.job_id or None,
        subject=alert.subject or None,
        message=alert.message,
        since=alert.since,
        count=alert.count,
        error=_error(alert, errors) or None,
        first_execution=alert.first_execution,
        last_execution=alert.last_execution,
        resolved_at=alert.resolved_at,
        resolution=alert.resolution,
        url=where.link(alert),
        next=_next(alert),
    )


def _word(alert: Alert) -> str:
    return "resolved" if alert.resolved_at is not None else alert.severity


def _headline(alert: Alert) -> str:
    """Return what the alert is about, and what happened."""
    about = alert.job_id or alert.subject
    first = alert.message.strip().partition("\n")[0]
    return f"{about}: {first}" if about else first


def _error(alert: Alert, errors: Mapping[str, str]) -> str:
    """Return the first line of the last run's error, unless the message has it."""
    error = errors.get(alert.last_execution or "", "")
    return "" if error in alert.message else shorten(error, LONGEST_ERROR)


def _next(alert: Alert) -> str:
    """Return what to do next, as a command."""
    look = f"gnomon runs show {alert.last_execution}" if alert.last_execution else None
    if look is None:
        look = f"gnomon explain {alert.job_id}" if alert.job_id else "gnomon status"
    return f"{look}, then gnomon alerts ack {alert.id}"


def _key(channel: str, due: Due) -> str:
    facts = [(notice.status, notice.alert.id, notice.alert.count, notice.told_at) for notice in due.notices]
    return hashlib.sha256(msgspec.json.encode((channel, due.group, facts))).hexdigest()[:24]


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _length(length: timedelta) -> str:
    return str(Duration(seconds=max(round(length.total_seconds()), 0)))
