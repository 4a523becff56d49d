"""The book of alerts: a fold of the events of alerts alone, the same in every process and whatever the rules are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Final, Literal

import msgspec

from gnomon.domain.alert_events import RANK, AlertFact
from gnomon.domain.events import (
    AlertAcknowledged,
    AlertEvent,
    AlertOpened,
    AlertRepeated,
    AlertResolved,
    AlertSnoozed,
    Event,
)
from gnomon.wire.alerts import Acknowledgement, Alert, AlertSnooze, AlertState

KEPT_FOR = timedelta(days=30)
MOST_KEPT = 5_000
"""Alerts that have ended stay in the book for so long, the newest ones."""
MOST_EVENTS = 100

What = Literal["opened", "repeated", "acknowledged", "unacknowledged", "snoozed", "unsnoozed", "resolved"]


class Change(msgspec.Struct, frozen=True):
    """What an event has changed, and the alert as it is since then: a copy."""

    what: What
    alert: Alert


class Book(msgspec.Struct):
    """The alerts by id, in the order in which they were opened, and the position up to which events are folded."""

    position: int = 0
    alerts: dict[str, Alert] = {}
    history: dict[str, list[AlertFact]] = {}
    """The events of each alert, of which the oldest repetitions are left out beyond MOST_EVENTS."""

    def apply(self, event: Event) -> Change | None:
        """Fold an event; return what it has changed, None where it changes nothing.

        Events up to `position` are in the book already. An alert is opened once, whatever the log repeats, and an act
        on one that has ended changes nothing.
        """
        if event.position <= self.position:
            return None
        self.position = event.position
        if not isinstance(event, AlertEvent):
            return None
        what = _STEPS[type(event)](self, event)
        if what is None:
            return None
        alert = self.alerts[event.alert_id]
        alert.position = event.position
        self._keep(event)
        return Change(what, copy_of(alert))

    def open(self) -> Iterator[Alert]:
        """Yield the alerts that have not ended, oldest first: the ones of the book, not copies."""
        return (alert for alert in self.alerts.values() if alert.resolved_at is None)

    def find(self, alert_id: str) -> Alert | None:
        """Return an alert."""
        return self.alerts.get(alert_id)

    def opened_after(self, position: int) -> Iterator[Alert]:
        """Yield the alerts that were opened after a position of the log, newest first."""
        return takewhile(lambda alert: self.history[alert.id][0].position > position, reversed(self.alerts.values()))

    def at(self, moment: datetime) -> Book:
        """Return the book as it was at a moment, as far as its alerts are kept."""
        book = Book()
        events = (event for history in self.history.values() for event in history if event.at <= moment)
        for event in sorted(events, key=lambda event: event.position):
            book.apply(event)
        return book

    def _keep(self, event: AlertEvent) -> None:
        history = self.history.setdefault(event.alert_id, [])
        history.append(event)  # type: ignore[arg-type]  # AlertFact is the union of its classes
        if len(history) > MOST_EVENTS:
            oldest = next((one for one in history if isinstance(one, AlertRepeated)), history[1])
            history.remove(oldest)

    def forget_old(self, now: datetime, wanted: Collection[str] = ()) -> None:
        """Forget alerts that have ended long ago, except those that a channel has yet to tell of."""
        ended = [one for one in self.alerts.values() if one.resolved_at is not None and one.id not in wanted]
        ended.sort(key=lambda alert: alert.resolved_at or now)
        surplus = len(ended) - MOST_KEPT
        for number, alert in enumerate(ended):
            if number < surplus or (alert.resolved_at or now) < now - KEPT_FOR:
                del self.alerts[alert.id]
                self.history.pop(alert.id, None)


def copy_of(alert: Alert) -> Alert:
    """Return a copy: what it refers to is replaced and never changed."""
    return msgspec.structs.replace(alert)


def state_at(alert: Alert, now: datetime) -> AlertState:
    """Return the state of an alert at a moment after its newest event."""
    if alert.resolved_at is not None:
        return "resolved"
    if alert.snooze is not None and now < alert.snooze.until:
        return "snoozed"
    return "acknowledged" if _is_acknowledged(alert, now) else "firing"


def shown(alert: Alert, now: datetime) -> Alert:
    """Return a copy of an alert as it is now: an acknowledgement or a snooze that is over is left out."""
    snooze = alert.snooze
    return msgspec.structs.replace(
        alert,
        state=state_at(alert, now),
        acknowledgement=alert.acknowledgement if _is_acknowledged(alert, now) else None,
        snooze=snooze if snooze is not None and now < snooze.until else None,
    )


def _is_acknowledged(alert: Alert, now: datetime) -> bool:
    ack = alert.acknowledgement
    return ack is not None and (ack.until is None or now < ack.until)


def urgency(alert: Alert) -> tuple[Any, ...]:
    """Return what alerts are sorted by: open ones first, then by severity, the newest first."""
    states = {"firing": 0, "acknowledged": 1, "snoozed": 2, "resolved": 3}
    ended = alert.resolved_at or datetime.max.replace(tzinfo=UTC)
    if alert.state == "resolved":
        return 3, -ended.timestamp(), alert.id
    return states[alert.state], -RANK[alert.severity], -alert.since.timestamp(), alert.id


def _opened(book: Book, event: AlertOpened) -> What | None:
    if event.alert_id in book.alerts:
        return None
    last = event.last_execution_id or event.execution_id
    book.alerts[event.alert_id] = Alert(
        id=event.alert_id,
        rule=event.rule,
        kind=event.kind,
        severity=event.severity,
        job_id=event.job_id,
        subject=event.subject,
        message=event.message,
        since=event.since,
        opened_at=event.at,
        last_at=event.since if event.last_execution_id is None else event.at,
        first_execution=event.execution_id,
        last_execution=last,
        count=event.count,
        backdated=event.backdated,
        said=event.said,
    )
    return "opened"


def _repeated(book: Book, event: AlertRepeated) -> What | None:
    alert = _open_alert(book, event)
    if alert is None or event.count <= alert.count:
        return None
    alert.count, alert.last_at, alert.message, alert.said = event.count, event.last, event.message, event.said
    alert.last_execution = event.execution_id or alert.last_execution
    if alert.acknowledgement is not None and alert.acknowledgement.until_next:
        alert.acknowledgement = None
    return "repeated"


def _acknowledged(book: Book, event: AlertAcknowledged) -> What | None:
    alert = _open_alert(book, event)
    if alert is None or (event.withdrawn and alert.acknowledgement is None):
        return None
    if event.withdrawn:
        alert.acknowledgement = None
        return "unacknowledged"
    alert.acknowledgement = Acknowledgement(
        by=event.actor, at=event.at, until=event.until, until_next=event.until_next, note=event.reason
    )
    alert.snooze = None
    return "acknowledged"


def _snoozed(book: Book, event: AlertSnoozed) -> What | None:
    alert = _open_alert(book, event)
    if alert is None or (event.withdrawn and alert.snooze is None):
        return None
    if event.withdrawn:
        alert.snooze = None
        return "unsnoozed"
    alert.snooze = AlertSnooze(by=event.actor, at=event.at, until=event.until, note=event.reason)
    return "snoozed"


def _resolved(book: Book, event: AlertResolved) -> What | None:
    alert = _open_alert(book, event)
    if alert is None:
        return None
    alert.resolved_at, alert.resolution = event.ended or event.at, event.why
    alert.resolved_by, alert.resolved_execution, alert.note = event.actor, event.execution_id, event.reason
    return "resolved"


def _open_alert(book: Book, event: AlertEvent) -> Alert | None:
    alert = book.alerts.get(event.alert_id)
    return alert if alert is not None and alert.resolved_at is None else None


_STEPS: Final[dict[type[Event], Callable[[Book, Any], What | None]]] = {
    AlertOpened: _opened,
    AlertRepeated: _repeated,
    AlertAcknowledged: _acknowledged,
    AlertSnoozed: _snoozed,
    AlertResolved: _resolved,
}
