"""The words of a notification, and the JSON of a webhook."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from gnomon.durations import Duration
from gnomon.text import shorten
from gnomon_alerts.delivery.ledger import Notice
from gnomon_alerts.delivery.timing import Status

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

    def link(self, notice: Notice) -> str | None:
        """Return the address of the run, the job or the list of alerts in the dashboard."""
        if self.public_url is None:
            return None
        if notice.last_run is not None:
            return f"{self.public_url}/runs/{quote(notice.last_run)}"
        return (
            f"{self.public_url}/jobs/{quote(notice.job_id, safe='')}" if notice.job_id else f"{self.public_url}/alerts"
        )


def compose(
    channel: str,
    group: str,
    items: Sequence[tuple[Status, Notice]],
    errors: Mapping[str, str],
    where: Surroundings,
    now: datetime,
) -> Message:
    """Return the message about some alerts; `errors` has the first line of the error of runs by their ids."""
    notices = [notice for _, notice in items]
    is_open = any(notice.resolved_at is None for notice in notices)
    shown = [_item(status, notice, errors, where) for status, notice in items[:MOST_SHOWN]]
    blocks = [_block(status, notice, errors, where, now) for status, notice in items[:MOST_SHOWN]]
    if more := len(items) - len(shown):
        blocks.append(f"… and {more} more: gnomon alerts")
    ranks = {"info": 0, "warning": 1, "error": 2, "critical": 3}
    return Message(
        key=_key(channel, group, items),
        status="firing" if is_open else "resolved",
        severity=max((notice.severity for notice in notices), key=lambda name: ranks.get(name, 0)),
        title=_title(items),
        text="\n\n".join([*blocks, f"{where.node}, {_clock(now)}"]),
        channel=channel,
        node=where.node,
        log_id=where.log_id,
        sent_at=now,
        alerts=shown,
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


def _title(items: Sequence[tuple[Status, Notice]]) -> str:
    if len(items) == 1:
        status, notice = items[0]
        word = "resolved" if status in {"resolved", "over"} else notice.severity
        return shorten(f"[{word}] {_headline(notice)}", 200)
    counts = {word: sum(status == one for one, _ in items) for status, word in _WORDS.items()}
    return f"{len(items)} alerts: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _block(status: Status, notice: Notice, errors: Mapping[str, str], where: Surroundings, now: datetime) -> str:
    ended = notice.resolved_at
    lines = [f"[{'resolved' if ended is not None else notice.severity}] {_headline(notice)}"]
    length = _length((ended or now) - notice.since)
    times = f", {notice.count} times" if notice.count > 1 else ""
    if ended is not None:
        how = (notice.resolution or "").replace("_", " ")
        lines.append(f"Resolved at {_clock(ended)} after {length}{times}" + (f" ({how})" if how else ""))
    else:
        again = " (still open)" if status == "repeated" else ""
        lines.append(f"Since {_clock(notice.since)}, for {length}{times}{again}")
    if error := _error(notice, errors):
        lines.append(f"Error: {error}")
    if link := where.link(notice):
        lines.append(link)
    if ended is None:
        lines.append(f"Next: {_next(notice)}")
    return "\n".join(lines)


def _item(status: Status, notice: Notice, errors: Mapping[str, str], where: Surroundings) -> Item:
    return Item(
        id=notice.id,
        status=status,
        rule=notice.rule,
        kind=notice.kind,
        severity=notice.severity,
        job_id=notice.job_id or None,
        subject=notice.subject or None,
        message=notice.message,
        since=notice.since,
        count=notice.count,
        error=_error(notice, errors) or None,
        first_execution=notice.first_run,
        last_execution=notice.last_run,
        resolved_at=notice.resolved_at,
        resolution=notice.resolution,
        url=where.link(notice),
        next=_next(notice),
    )


def _headline(notice: Notice) -> str:
    """Return what the alert is about, and what happened."""
    about = notice.job_id or notice.subject
    first = notice.message.strip().partition("\n")[0]
    return f"{about}: {first}" if about else first


def _error(notice: Notice, errors: Mapping[str, str]) -> str:
    """Return the first line of the last run's error, unless the message has it."""
    error = errors.get(notice.last_run or "", "")
    return "" if error in notice.message else shorten(error, LONGEST_ERROR)


def _next(notice: Notice) -> str:
    """Return what to do next, as a command."""
    look = f"gnomon runs show {notice.last_run}" if notice.last_run else None
    if look is None:
        look = f"gnomon explain {notice.job_id}" if notice.job_id else "gnomon status"
    return f"{look}, then gnomon alerts ack {notice.id}"


def _key(channel: str, group: str, items: Sequence[tuple[Status, Notice]]) -> str:
    facts = [(status, notice.id, notice.count, notice.told_at) for status, notice in items]
    return hashlib.sha256(msgspec.json.encode((channel, group, facts))).hexdigest()[:24]


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _length(length: timedelta) -> str:
    return str(Duration(seconds=max(round(length.total_seconds()), 0)))
