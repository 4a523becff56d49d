"""Alerts as HTTP resources: lists, single alerts with their history, and acts on one or on all that match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from gnomon import Event, JobError, KernelApi
from gnomon.domain.alert_events import AlertFact, Severity
from gnomon.domain.bulk_acts import ActOutcome
from gnomon.durations import Duration
from gnomon.wire.alerts import (
    Alert,
    AlertCounts,
    AlertFilter,
    AlertPage,
    AlertSelection,
    UnknownAlertError,
)
from gnomon.wire.caller import Caller
from gnomon_alerts.acts import Act, acknowledgement, is_as_severe, resolution, selected, snooze
from gnomon_alerts.rules import Kind

Moment = Annotated[datetime, Meta(tz=True)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Limit = Annotated[int, Meta(ge=1, le=200)]
Offset = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Alerts(Protocol):
    """What the resources need of the plugin."""

    @property
    def position(self) -> int:
        """The position up to which alerts are known."""

    def alerts(self, at: datetime | None = None) -> list[Alert]:
        """Return all alerts."""

    def alert(self, alert_id: str) -> Alert:
        """Return one alert."""

    def history(self, alert_id: str) -> list[AlertFact]:
        """Return the events of an alert."""

    async def act(self, kernel: KernelApi, act: Act, alerts: Sequence[Alert]) -> None:
        """Record an act."""


class AlertFilters(msgspec.Struct, kw_only=True, frozen=True):
    """All filters combine. `state` is one, or `open` for all that have not ended, or `all`. `at` is a past moment.

    `severity` is the least one.
    """

    state: AlertFilter = "open"
    rule: Text | None = None
    kind: Kind | None = None
    job_id: Text | None = None
    severity: Severity | None = None
    since: Moment | None = None
    at: Moment | None = None
    limit: Limit = 50
    offset: Offset = 0

    def has(self, alert: Alert) -> bool:
        """Return whether an alert matches."""
        return (
            self._has_state(alert)
            and self.rule in {None, alert.rule}
            and self.kind in {None, alert.kind}
            and self.job_id in {None, alert.job_id}
            and is_as_severe(alert, self.severity)
            and (self.since is None or (alert.resolved_at or alert.last_at) >= self.since)
        )

    def _has_state(self, alert: Alert) -> bool:
        is_open = alert.state != "resolved"
        return self.state == "all" or (is_open if self.state == "open" else alert.state == self.state)


class AlertMoment(msgspec.Struct, kw_only=True, frozen=True):
    """With `at`, the alert is shown as it was then."""

    at: Moment | None = None


class ActReason(msgspec.Struct, kw_only=True, frozen=True):
    """The reason for an act, a note that the log keeps; one in the body takes precedence."""

    reason: Text | None = None


class Ack(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An acknowledgement: until the alert is resolved, or until a time; with `until_next` until it repeats.

    `undo` takes it back.
    """

    until: datetime | None = None
    until_next: bool = False
    undo: bool = False
    reason: Text | None = None


class Snooze(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A snooze until a time, or `for` a length such as "2h", which is one hour by default. `undo` takes it back."""

    until: datetime | None = None
    length: str | None = msgspec.field(name="for", default=None)
    undo: bool = False
    reason: Text | None = None


class Resolve(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A resolution by hand: what the alert is about opens another one when it happens again."""

    reason: Text | None = None


class AckMany(Ack, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An acknowledgement of all open alerts that match."""

    alerts: AlertSelection


class SnoozeMany(Snooze, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A snooze of all open alerts that match."""

    alerts: AlertSelection


class ResolveMany(Resolve, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A resolution of all open alerts that match."""

    alerts: AlertSelection


class AlertChange(msgspec.Struct, kw_only=True):
    """An event in the life of an alert: `what` is its type, without `alert_`."""

    what: str
    at: datetime
    actor: str | None
    facts: dict[str, Any]


class AlertDetail(msgspec.Struct, kw_only=True):
    """An alert and its changes, oldest first."""

    alert: Alert
    changes: list[AlertChange]


class Resources:
    """The handlers of the calls about alerts."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def register(self, register: Callable[..., None]) -> None:
        """Register the calls with a server."""
        base: dict[str, Any] = {"tag": "alerts", "scoped": True}
        path = "/scheduler/alerts"
        act = base | {"role": "operator", "errors": (404, 413, 415, 422)}
        register("GET", path, self.list_alerts, role="viewer", on_wall=True, errors=(404,), **base)
        register("POST", f"{path}/ack", self.ack_many, **act)
        register("POST", f"{path}/snooze", self.snooze_many, **act)
        register("POST", f"{path}/resolve", self.resolve_many, **act)
        register("GET", path + "/{alert_id}", self.show_alert, role="viewer", errors=(404,), **base)
        register("POST", path + "/{alert_id}/ack", self.ack, **act)
        register("POST", path + "/{alert_id}/snooze", self.snooze, **act)
        register("POST", path + "/{alert_id}/resolve", self.resolve, **act)

    async def list_alerts(self, _request: Any, caller: Caller, query: AlertFilters) -> AlertPage:
        """List alerts, the most urgent first; by default those that have not ended."""
        if query.at is not None:
            await caller.kernel.at(query.at)  # PastError for a moment that the log does not know
        position = self._alerts.position
        visible = await self._visible(caller, self._alerts.alerts(query.at))
        found = [alert for alert in visible if query.has(alert)]
        return AlertPage(
            alerts=found[query.offset : query.offset + query.limit],
            total=len(found),
            limit=query.limit,
            offset=query.offset,
            counts=count(visible),
            position=position,
        )

    async def show_alert(self, _request: Any, caller: Caller, alert_id: str, query: AlertMoment) -> AlertDetail:
        """Return an alert and its changes, by default until now."""
        if query.at is not None:
            await caller.kernel.at(query.at)
        alert = await self._one(caller, alert_id, query.at)
        changes = [
            AlertChange(
                what=event.type.removeprefix("alert_"),
                at=event.at,
                actor=getattr(event, "actor", None),
                facts=_facts(event),
            )
            for event in self._alerts.history(alert_id)
            if query.at is None or event.at <= query.at
        ]
        return AlertDetail(alert=alert, changes=changes)

    async def ack(self, _request: Any, caller: Caller, alert_id: str, query: ActReason, body: Ack | None) -> Alert:
        """Acknowledge an alert: someone takes care of it."""
        return await self._act_on(caller, alert_id, _ack(caller, query, body or Ack()))

    async def snooze(
        self, _request: Any, caller: Caller, alert_id: str, query: ActReason, body: Snooze | None
    ) -> Alert:
        """Snooze an alert: nobody wants to hear of it for a while."""
        return await self._act_on(caller, alert_id, _snooze(caller, query, body or Snooze()))

    async def resolve(
        self, _request: Any, caller: Caller, alert_id: str, query: ActReason, body: Resolve | None
    ) -> Alert:
        """Resolve an alert by hand."""
        return await self._act_on(caller, alert_id, _resolve(caller, query, body or Resolve()))

    async def ack_many(self, _request: Any, caller: Caller, query: ActReason, body: AckMany) -> list[ActOutcome]:
        """Acknowledge all open alerts that match, at most 1,000."""
        return await self._act_on_all(caller, body.alerts, _ack(caller, query, body))

    async def snooze_many(self, _request: Any, caller: Caller, query: ActReason, body: SnoozeMany) -> list[ActOutcome]:
        """Snooze all open alerts that match, at most 1,000."""
        return await self._act_on_all(caller, body.alerts, _snooze(caller, query, body))

    async def resolve_many(
        self, _request: Any, caller: Caller, query: ActReason, body: ResolveMany
    ) -> list[ActOutcome]:
        """Resolve all open alerts that match, at most 1,000."""
        return await self._act_on_all(caller, body.alerts, _resolve(caller, query, body))

    # --- inside ---

    async def _visible(self, caller: Caller, alerts: Sequence[Alert]) -> list[Alert]:
        sees = {job_id: await caller.sees(job_id) for job_id in {alert.job_id for alert in alerts}}
        return [alert for alert in alerts if sees[alert.job_id]]

    async def _one(self, caller: Caller, alert_id: str, at: datetime | None = None) -> Alert:
        known = self._alerts.alerts(at) if at is not None else [self._alerts.alert(alert_id)]
        alert = next((one for one in known if one.id == alert_id), None)
        if alert is None or not await caller.sees(alert.job_id):
            raise UnknownAlertError(alert_id)
        return alert

    async def _act_on(self, caller: Caller, alert_id: str, act: Act) -> Alert:
        alert = await self._one(caller, alert_id)
        if alert.state == "resolved":
            raise JobError(f"alert {alert_id} has ended at {alert.resolved_at:%Y-%m-%d %H:%M} UTC: nothing was changed")
        await self._alerts.act(caller.kernel, act, [alert])
        return self._alerts.alert(alert_id)

    async def _act_on_all(self, caller: Caller, selection: AlertSelection, act: Act) -> list[ActOutcome]:
        visible = await self._visible(caller, self._alerts.alerts())
        found = selected((alert for alert in visible if alert.state != "resolved"), selection)
        await self._alerts.act(caller.kernel, act, found)
        outcomes = [ActOutcome(id=alert.id, changed=True) for alert in found]
        unknown = set(selection.ids or ()) - {alert.id for alert in found}
        outcomes += [
            ActOutcome(id=one, changed=False, error=f"no open alert {one!r} matches") for one in sorted(unknown)
        ]
        return outcomes


def count(alerts: Sequence[Alert]) -> AlertCounts:
    """Count open alerts by state, and firing ones by severity."""
    states = Counter(alert.state for alert in alerts)
    return AlertCounts(
        firing=states["firing"],
        acknowledged=states["acknowledged"],
        snoozed=states["snoozed"],
        severities=dict(Counter(alert.severity for alert in alerts if alert.state == "firing")),
    )


def _ack(caller: Caller, query: ActReason, body: Ack) -> Act:
    return acknowledgement(
        until=body.until,
        until_next=body.until_next,
        undo=body.undo,
        actor=caller.actor,
        reason=body.reason or query.reason,
        now=caller.kernel.clock.now(),
    )


def _snooze(caller: Caller, query: ActReason, body: Snooze) -> Act:
    try:
        length = Duration.parse(body.length) if body.length is not None else None
    except ValueError as exc:
        raise JobError(f"for: {exc}") from exc
    return snooze(
        until=body.until,
        length=length,
        undo=body.undo,
        actor=caller.actor,
        reason=body.reason or query.reason,
        now=caller.kernel.clock.now(),
    )


def _resolve(caller: Caller, query: ActReason, body: Resolve) -> Act:
    return resolution(actor=caller.actor, reason=body.reason or query.reason)


_HEADER = frozenset({*Event.__struct_fields__, "type", "alert_id", "actor"})


def _facts(event: AlertFact) -> dict[str, Any]:
    """Return the fields of an event that differ from their defaults, besides those of every event."""
    return {name: value for name, value in msgspec.to_builtins(event).items() if name not in _HEADER}
