"""What the channels know about alerts: a fold of the log, and what was sent. It is saved as a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from gnomon import (
    AlertAcknowledged,
    AlertOpened,
    AlertRepeated,
    AlertResolved,
    AlertSnoozed,
    Checkpoint,
    Event,
)
from gnomon.outbox.destination import Refusal

CHECKPOINT = "alerts:delivery"
VERSION = 1
"""Version of the bytes of the checkpoint. Increase it when they change in a way that older versions misread."""
NOT_NEWS = frozenset({"by_hand", "rule", "removed"})
"""Ends that do not interest people who were not notified of the beginning."""


class Notice(msgspec.Struct):
    """An alert as a channel knows it; `told_at` is when the channel last accepted a message about it."""

    id: str
    rule: str
    kind: str
    severity: str
    job_id: str
    subject: str
    message: str
    since: datetime
    opened_at: datetime
    first_run: str | None = None
    last_run: str | None = None
    last_at: datetime | None = None
    count: int = 1
    is_acknowledged: bool = False
    acknowledged_until: datetime | None = None
    until_next: bool = False
    snoozed_until: datetime | None = None
    resolved_at: datetime | None = None
    resolution: str | None = None
    told_at: datetime | None = None

    def is_silenced(self, now: datetime) -> bool:
        """Return whether someone takes care of it, or nobody wants to hear of it for now."""
        if self.snoozed_until is not None and now < self.snoozed_until:
            return True
        return self.is_acknowledged and (self.acknowledged_until is None or now < self.acknowledged_until)


class ChannelRecord(msgspec.Struct):
    """The alerts that a channel has to know of, and how its messages were received.

    `last_sent` has the times of the last messages by their groups, as long as they delay the next ones.
    `refused` counts the messages that were refused since the last accepted one. `problem` is that of the last attempt.
    """

    notices: dict[str, Notice] = {}
    last_sent: dict[str, datetime] = {}
    accepted_at: datetime | None = None
    refused: int = 0
    refusal: Refusal | None = None
    problem: str | None = None

    def settle(self, group: str, sent: Iterable[Notice], now: datetime, interval: timedelta) -> None:
        """Note that a message about these alerts, as they were then, needs no further attempt."""
        for notice in sent:
            current = self.notices.get(notice.id)
            if notice.resolved_at is not None:
                self.notices.pop(notice.id, None)
            elif current is not None:
                current.told_at = now
        self.last_sent = {name: at for name, at in self.last_sent.items() if now - at < interval} | {group: now}


class Ledger(msgspec.Struct):
    """The records of all channels, and the position up to which the log is folded into them."""

    position: int
    channels: dict[str, ChannelRecord] = {}
    version: int = VERSION

    def fold(self, event: Event, route: Callable[[AlertOpened], Iterable[str]]) -> bool:
        """Fold an event; return whether it changes what channels have to know. `route` names the channels."""
        if event.position <= self.position:
            return False
        self.position = event.position
        match event:
            case AlertOpened():
                return not event.backdated and self._open(event, route(event))
            case AlertRepeated() | AlertAcknowledged() | AlertSnoozed() | AlertResolved():
                known = [found for one in self.channels.values() if (found := one.notices.get(event.alert_id))]
                for notice in known:
                    _change(notice, event)
                return bool(known)
        return False

    def _open(self, event: AlertOpened, channels: Iterable[str]) -> bool:
        has_changed = False
        for name in channels:
            notices = self.channels[name].notices
            if event.alert_id not in notices:
                notices[event.alert_id] = _notice(event)
                has_changed = True
        return has_changed


def to_checkpoint(ledger: Ledger) -> Checkpoint:
    """Return a ledger as a checkpoint."""
    return Checkpoint(ledger.position, msgspec.json.encode(ledger))


def from_checkpoint(checkpoint: Checkpoint) -> Ledger:
    """Return the ledger of a checkpoint; ValueError where it cannot be read."""
    ledger = msgspec.json.decode(checkpoint.view or b"", type=Ledger)
    if ledger.version > VERSION:
        raise ValueError(f"it was written by a newer Gnomon: version {ledger.version}, this one knows {VERSION}")
    return ledger


def _notice(event: AlertOpened) -> Notice:
    return Notice(
        id=event.alert_id,
        rule=event.rule,
        kind=event.kind,
        severity=event.severity,
        job_id=event.job_id,
        subject=event.subject,
        message=event.message,
        since=event.since,
        opened_at=event.at,
        first_run=event.execution_id,
        last_run=event.last_execution_id or event.execution_id,
        count=event.count,
    )


def _change(notice: Notice, event: AlertRepeated | AlertAcknowledged | AlertSnoozed | AlertResolved) -> None:
    match event:
        case AlertRepeated():
            notice.count, notice.last_at, notice.message = event.count, event.last, event.message
            notice.last_run = event.execution_id or notice.last_run
            if notice.until_next:
                notice.is_acknowledged = notice.until_next = False
        case AlertAcknowledged():
            notice.is_acknowledged = not event.withdrawn
            notice.acknowledged_until, notice.until_next = event.until, event.until_next and not event.withdrawn
        case AlertSnoozed():
            notice.snoozed_until = None if event.withdrawn else event.until
        case AlertResolved():
            notice.resolved_at, notice.resolution = event.ended or event.at, event.why
