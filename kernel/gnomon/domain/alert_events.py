"""The events about alerts: each change of one, from its opening to its end."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, get_args

from gnomon.domain.event_base import KernelEvent
from gnomon.domain.statement import Statement

Severity = Literal["info", "warning", "error", "critical"]
RANK: Final[dict[str, int]] = {name: rank for rank, name in enumerate(get_args(Severity))}
"""How severe each is: the higher, the more."""
Resolution = Literal["succeeded", "ran", "ended", "recovered", "removed", "paused", "rule", "by_hand"]
"""Why an alert ended: a run of the job succeeded, a fire of it ran, the run ended, the part works again, the job was
removed or paused, no rule asks for it any more, or an operator decided so."""


class AlertEvent(KernelEvent, frozen=True, kw_only=True):
    """A change of the alert `alert_id`, 24 hex characters that follow from its rule and from what opened it.

    The stream is that of the kernel that records it, for the day. `job_id` is the job that the alert is about, empty
    for the store, a plugin, a queue or the kernel.
    """

    alert_id: str


class AlertOpened(AlertEvent, frozen=True, kw_only=True, tag="alert_opened"):
    """The condition of the rule `rule` is met `since` that moment; `message` is a sentence about it, `said` its data.

    `kind` is what the rule looks at, such as `failed`. `subject` names a plugin, a queue or another part of the kernel;
    it is empty where the alert is about a job. `count` is how often it has happened, `execution_id` the first run that
    it was. With `backdated` the condition is older than the rule, or than the plugin: it is not news.
    """

    rule: str
    kind: str
    severity: Severity
    since: datetime
    message: str
    subject: str = ""
    execution_id: str | None = None
    last_execution_id: str | None = None
    count: int = 1
    backdated: bool = False
    said: Statement | None = None


class AlertRepeated(AlertEvent, frozen=True, kw_only=True, tag="alert_repeated"):
    """What the alert is about has happened again: `count` times in all, the last time at `last`."""

    count: int
    last: datetime
    message: str
    execution_id: str | None = None
    said: Statement | None = None


class AlertAcknowledged(AlertEvent, frozen=True, kw_only=True, tag="alert_acknowledged"):
    """Someone takes care of the alert, until it is resolved; with `until` until then at the latest.

    With `until_next` the next repetition ends the acknowledgement. `reason` is a note. `withdrawn` takes it back.
    """

    actor: str | None = None
    reason: str | None = None
    until: datetime | None = None
    until_next: bool = False
    withdrawn: bool = False


class AlertSnoozed(AlertEvent, frozen=True, kw_only=True, tag="alert_snoozed"):
    """Nobody wants to hear of the alert before `until`. `reason` is a note. `withdrawn` takes it back."""

    until: datetime
    actor: str | None = None
    reason: str | None = None
    withdrawn: bool = False


class AlertResolved(AlertEvent, frozen=True, kw_only=True, tag="alert_resolved"):
    """The alert has ended. `why` says how, `execution_id` is the run that ended it, `actor` who did so by hand.

    `ended` is the moment where that was earlier than the event, such as while the kernel was down.
    """

    why: Resolution
    execution_id: str | None = None
    actor: str | None = None
    reason: str | None = None
    ended: datetime | None = None


AlertFact = AlertOpened | AlertRepeated | AlertAcknowledged | AlertSnoozed | AlertResolved
