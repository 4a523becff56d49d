"""Decides which alerts open, repeat and end: what the rules say about the facts, against what the log has already.

The detector folds every event, in every process. What it decides is `pending` until the event of the alert itself comes
back in the log: the kernel that leads records it, and after a kill the next one does. Ids follow from what opened an
alert, so one that was recorded before a kill is known by its id and is not recorded again.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from gnomon.domain.alert_events import Resolution, Severity
from gnomon.domain.events import AlertEvent, AlertOpened, AlertRepeated, AlertResolved, Event
from gnomon.wire.alerts import Alert
from gnomon_alerts.book import Book, Change
from gnomon_alerts.conditions import WHY, Finding, findings
from gnomon_alerts.job_facts import DEFINING, JobFacts
from gnomon_alerts.rules import DEFAULTS, OF_JOBS, Kind, Rules, Setting
from gnomon_alerts.watch import Watch

REPEAT_EVERY: Final = timedelta(minutes=1)
"""Repetitions of an alert within this time become one event."""


class Tracked(msgspec.Struct):
    """An open alert, or one that is about to be recorded, and the condition that it stands for.

    `base` is the count of what came before this condition, for alerts that only an operator resolves.
    """

    id: str
    kind: str
    job_id: str
    subject: str
    source: str
    count: int
    base: int = 0


class Opening(msgspec.Struct):
    """An alert to open."""

    rule: str
    kind: str
    severity: Severity
    job_id: str
    subject: str
    finding: Finding
    backdated: bool = False


class Ending(msgspec.Struct):
    """The end of an alert, and the run that ended it."""

    why: Resolution
    ended: datetime
    execution_id: str | None = None


class Pending(msgspec.Struct):
    """What the log does not have yet of an alert, in this order."""

    job_id: str
    opening: Opening | None = None
    repetition: Finding | None = None
    ending: Ending | None = None


class State(msgspec.Struct):
    """Everything that a checkpoint keeps."""

    book: Book = msgspec.field(default_factory=Book)
    watch: Watch = msgspec.field(default_factory=Watch)
    tracked: dict[str, Tracked] = {}
    pending: dict[str, Pending] = {}
    rules: str = ""
    """The rules by which this was decided, as text."""


class Detector:
    """Folds events, and decides. `is_past` while the past is folded whose alerts are not news.

    `has_news` is set where an alert is to be opened or ended, until `due` is asked for.
    """

    def __init__(self, rules: Rules, state: State | None = None) -> None:
        self.state = state or State()
        self.rules = rules
        self.is_past = False
        self.has_news = bool(self.state.pending)
        self._has_other_rules = False
        self._settings: dict[str, dict[str, Setting]] = {}
        self._busy = {job_id for job_id, job in self._jobs.items() if job.runs or not job.is_calm}

    @property
    def position(self) -> int:
        """The position up to which the log is folded."""
        return self.state.watch.position

    @property
    def _jobs(self) -> dict[str, JobFacts]:
        return self.state.watch.jobs

    def fold(self, events: Iterable[Event]) -> list[Change]:
        """Fold events that follow on, and return what has changed in the book."""
        changes = []
        for event in events:
            if event.position <= self.position:
                continue
            self._now(event.at)
            if (change := self.state.book.apply(event)) is not None:
                changes.append(change)
            job = self.state.watch.apply(event)
            if isinstance(event, AlertEvent):
                self._settle(event, change)
            elif job is not None:
                if type(event) in DEFINING:
                    self._settings.pop(event.job_id, None)
                self._decide_after(event, job)
        return changes

    def note_lingering(self, runs: Mapping[str, str], now: datetime) -> None:
        """Note the runs, each with its job, whose code goes on after their end, as the kernel that leads sees it."""
        for job_id, job in self._jobs.items():
            if job.lingering:
                job.lingering = {run: since for run, since in job.lingering.items() if runs.get(run) == job_id}
                self._busy.add(job_id)
        for run, job_id in runs.items():
            if (known := self._jobs.get(job_id)) is not None:
                known.lingering.setdefault(run, now)
                self._busy.add(job_id)

    def look(self, now: datetime) -> None:
        """Decide what the time alone decides: runs that have not begun or go on, and successes that did not come."""
        self._now(now)
        for job_id in list(self._busy):
            job = self._jobs.get(job_id)
            if job is not None:
                job.confirm_failures(now)
                self._decide(job_id, job, None)
            if job is None or (not job.runs and job.is_calm):
                self._busy.discard(job_id)
        for job_id, job in self._jobs.items():
            if job_id not in self._busy and "no_success" in self.settings(job_id, job):
                self._decide(job_id, job, None)

    def decide_all(self) -> None:
        """Decide about all jobs, as after a change of the rules."""
        self._settings.clear()
        self._has_other_rules = True
        for job_id, job in self._jobs.items():
            self._decide(job_id, job, None)
        self._has_other_rules = False
        for key, tracked in list(self.state.tracked.items()):
            if tracked.job_id not in self._jobs and tracked.kind in OF_JOBS:
                self._end(key, tracked, Ending("removed", self._time))

    def observe(self, kind: Kind, found: Mapping[str, Finding], subjects: Iterable[str]) -> None:
        """Decide about parts of the deployment: `found` have been in trouble for long enough, all `subjects` are."""
        setting = self.rules.of_part(kind)
        in_trouble = set(subjects)
        for key, tracked in list(self.state.tracked.items()):
            is_over = tracked.subject not in in_trouble or not setting.enabled
            if tracked.kind == kind and is_over and not setting.is_by_hand:
                why: Resolution = "recovered" if setting.enabled else "rule"
                self._end(key, tracked, Ending(why, self._time))
        for subject, finding in found.items() if setting.enabled else ():
            if _key(kind, "", subject) not in self.state.tracked:
                self._open(setting, "", subject, finding)

    def end_of_past(self) -> None:
        """Drop what opened and ended in the past; what still lasts was not opened now."""
        self.is_past = False
        for alert_id, pending in list(self.state.pending.items()):
            if pending.opening is not None:
                if pending.ending is not None:
                    del self.state.pending[alert_id]
                else:
                    pending.opening.backdated = True

    def forget_old(self, wanted: Collection[str]) -> None:
        """Forget alerts that ended long ago and that no channel wants, and jobs that were removed."""
        self.state.book.forget_old(self._time, wanted)
        self.state.watch.forget_removed()

    def due(self, now: datetime) -> list[tuple[str, Pending]]:
        """Return what is to be recorded now: repetitions wait until the last event is REPEAT_EVERY old."""
        self.has_news = False
        due = []
        for alert_id, pending in self.state.pending.items():
            is_ready = pending.opening is not None or pending.ending is not None
            history = self.state.book.history.get(alert_id)
            if is_ready or not history or now - history[-1].at >= REPEAT_EVERY:
                due.append((alert_id, pending))
        return due

    def settings(self, job_id: str, job: JobFacts) -> dict[str, Setting]:
        """Return the rules for a job, by kind."""
        found = self._settings.get(job_id)
        if found is None:
            found = self._settings[job_id] = self.rules.of_job(job_id, job.tags, job.option)
        return found

    # --- inside ---

    @property
    def _time(self) -> datetime:
        return self.state.watch.now or datetime.min.replace(tzinfo=UTC)

    def _now(self, moment: datetime) -> None:
        """Move the time on: that of events of several processes may go back."""
        watch = self.state.watch
        watch.now = moment if watch.now is None else max(watch.now, moment)

    def _decide_after(self, event: Event, job: JobFacts) -> None:
        job_id = event.job_id
        if job.runs or not job.is_calm:
            self._busy.add(job_id)
        if not job.is_calm or self._has_alert(job_id) or type(event) in DEFINING:
            self._has_other_rules = type(event) in DEFINING
            self._decide(job_id, job, event)
            self._has_other_rules = False

    def _has_alert(self, job_id: str) -> bool:
        tracked = self.state.tracked
        return bool(tracked) and any(_key(kind, job_id) in tracked for kind in OF_JOBS)

    def _decide(self, job_id: str, job: JobFacts, event: Event | None) -> None:
        settings = self.settings(job_id, job)
        found = findings(job, settings, self.state.watch, self._time)
        for kind in OF_JOBS:
            key = _key(kind, job_id)
            tracked, finding, setting = self.state.tracked.get(key), found.get(kind), settings.get(kind)
            if tracked is not None and setting is not None and setting.is_by_hand and job.exists:
                if finding is not None:
                    self._add_to(tracked, finding, setting)
                continue
            if tracked is not None and (finding is None or _id(setting, finding, job_id) != tracked.source):
                asked = None if self._has_other_rules else setting
                self._end(key, tracked, _ending(kind, job, asked, event, self._time))
                tracked = None
            if finding is None or setting is None:
                continue
            if tracked is None:
                self._open(setting, job_id, "", finding)
            elif finding.count > tracked.count:
                self._repeat(tracked, finding)

    def _add_to(self, tracked: Tracked, finding: Finding, setting: Setting) -> None:
        """Count a condition as a repetition of an alert that only an operator resolves."""
        source = _id(setting, finding, tracked.job_id)
        if source != tracked.source:
            if source in self.state.book.alerts:
                return
            tracked.source, tracked.base = source, tracked.count
        if finding.count + tracked.base > tracked.count:
            self._repeat(tracked, msgspec.structs.replace(finding, count=finding.count + tracked.base))

    def _open(self, setting: Setting, job_id: str, subject: str, finding: Finding) -> None:
        source = finding.alert_id(setting.name, job_id, subject)
        alert_id = self._free_id(finding, setting, job_id, subject)
        if alert_id is None or alert_id in self.state.pending:
            return
        key = _key(setting.kind, job_id, subject)
        self.state.tracked[key] = Tracked(alert_id, setting.kind, job_id, subject, source, finding.count)
        opening = Opening(setting.name, setting.kind, setting.severity, job_id, subject, finding)
        self.state.pending[alert_id] = Pending(job_id, opening)
        self.has_news = True

    def _free_id(self, finding: Finding, setting: Setting, job_id: str, subject: str) -> str | None:
        """Return the id of an alert to open; None for one that has ended: by hand, or with what it is about.

        One that ended because no rule wanted it can be wanted again: it is another alert then.
        """
        for number in itertools.count():
            named = finding if not number else msgspec.structs.replace(finding, opener=f"{finding.opener}#{number}")
            alert_id = named.alert_id(setting.name, job_id, subject)
            known = self.state.book.find(alert_id)
            if known is None:
                return alert_id
            if known.resolution != "rule":
                break
        return None

    def _repeat(self, tracked: Tracked, finding: Finding) -> None:
        tracked.count = finding.count
        pending = self.state.pending.setdefault(tracked.id, Pending(tracked.job_id))
        if pending.opening is not None:  # not recorded yet: then it opens with this
            opener = pending.opening.finding
            pending.opening.finding = msgspec.structs.replace(
                finding, opener=opener.opener, since=opener.since, first=opener.first
            )
        else:
            pending.repetition = finding

    def _end(self, key: str, tracked: Tracked, ending: Ending) -> None:
        del self.state.tracked[key]
        self.state.pending.setdefault(tracked.id, Pending(tracked.job_id)).ending = ending
        self.has_news = True

    def _settle(self, event: AlertEvent, change: Change | None) -> None:
        """Note what the log has about an alert now, so that it is not recorded again."""
        alert = self.state.book.find(event.alert_id)
        if alert is None:
            return
        pending = self.state.pending.get(alert.id) or Pending(alert.job_id)
        match event:
            case AlertOpened():
                pending.opening = None
                key = _key(alert.kind, alert.job_id, alert.subject)
                if change is not None and pending.ending is None and key not in self.state.tracked:
                    tracked = Tracked(alert.id, alert.kind, alert.job_id, alert.subject, alert.id, alert.count)
                    self.state.tracked[key] = tracked
            case AlertRepeated() if pending.repetition is not None and pending.repetition.count <= event.count:
                pending.repetition = None
            case AlertResolved():
                pending = Pending(alert.job_id)
                if change is not None:
                    self._forget(alert, is_by_hand=event.why == "by_hand")
        if (pending.opening, pending.repetition, pending.ending) == (None, None, None):
            self.state.pending.pop(alert.id, None)

    def _forget(self, alert: Alert, *, is_by_hand: bool) -> None:
        """Track an alert no more that has ended in the log; what happens after an end by hand is counted from one."""
        key = _key(alert.kind, alert.job_id, alert.subject)
        tracked = self.state.tracked.get(key)
        if tracked is not None and tracked.id == alert.id:
            del self.state.tracked[key]
        job = self._jobs.get(alert.job_id)
        if is_by_hand and job is not None:
            job.dismiss(alert.kind)


def _key(kind: str, job_id: str, subject: str = "") -> str:
    return f"{kind}\0{job_id}\0{subject}"


def _id(setting: Setting | None, finding: Finding, job_id: str) -> str:
    return finding.alert_id(setting.name if setting is not None else DEFAULTS[finding.kind].name, job_id)


def _ending(kind: str, job: JobFacts, setting: Setting | None, event: Event | None, now: datetime) -> Ending:
    why: Resolution
    if not job.exists:
        why = "removed"
    elif setting is None:
        why = "rule"
    elif job.is_paused and kind in {"missed", "no_success"}:
        why = "paused"
    else:
        why = WHY.get(kind, "recovered")
    is_run = event is not None and not event.stream.startswith(("job:", "kernel:"))
    return Ending(why, event.at if event is not None else now, event.stream if is_run and event is not None else None)
