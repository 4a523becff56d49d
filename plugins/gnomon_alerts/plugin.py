"""The plugin: it folds the log in every process, and where the kernel leads, it records alerts and saves its state."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec

from gnomon import Event, GnomonError, KernelApi, hookimpl
from gnomon.domain.alert_events import AlertFact
from gnomon.durations import Duration, encode_hook
from gnomon.logs import get_logger
from gnomon.stores.reading import BLOCK
from gnomon.wire.alerts import Alert, UnknownAlertError
from gnomon_alerts.acts import Act
from gnomon_alerts.book import Book, shown, urgency
from gnomon_alerts.checkpoint import CHECKPOINT, UnreadableStateError, from_checkpoint, to_checkpoint
from gnomon_alerts.delivery.config import Channel, Heartbeat, Route, check_channels
from gnomon_alerts.delivery.deliveries import ChannelHealth, Deliveries, health_of
from gnomon_alerts.delivery.ledger import CHECKPOINT as CHANNELS
from gnomon_alerts.detector import Detector
from gnomon_alerts.parts import PartWatch
from gnomon_alerts.recorder import record
from gnomon_alerts.resources import Resources, count
from gnomon_alerts.rules import DEFAULTS, JobOptions, Rule, Rules

log = get_logger("gnomon.alerts")

LOOK_S = 5.0
"""Seconds between two looks at what the time alone decides, such as runs that take too long."""
RETRY_S = 1.0
"""Seconds until a log that is unavailable is read again, or a refused alert recorded again."""
FIRST_SAVE_S = 0.5
"""Seconds until the first save: what happens after it is news, also for a kernel that is killed meanwhile."""
SEEN_LIMIT_S = 5.0
"""Seconds that an act waits until this process has read it back from the log."""


class AlertsPlugin:
    """Opens, repeats and resolves alerts by rules, each by an event in the log, and keeps the book of them.

    `alerts`, `alert`, `history` and `act` may be called from any thread. A rule of the config changes the default of
    its kind for the jobs that it names; the key `alerts` of a job changes it for that job.
    """

    role = "everywhere"
    JobOptions = JobOptions

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """The rules, of which the last one that fits a job counts; `save_every` limits what is read after a crash.

        `channels` are where notifications go, `routes` choose among them, and `heartbeat` pings a service.
        """

        rules: list[Rule] = []
        save_every: Duration = Duration(seconds=30)
        channels: list[Channel] = []
        routes: list[Route] = []
        heartbeat: Heartbeat | None = None

        def __post_init__(self) -> None:
            """Refuse saving without a pause, and routes that lead nowhere."""
            check_channels(self.channels, self.routes)
            if self.save_every < timedelta(milliseconds=10):
                raise ValueError(f"save_every must be 10 ms or more, got {self.save_every}")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._detector = Detector(Rules(self.config.rules))
        self._parts = PartWatch()
        self._deliveries = Deliveries(self.config.channels, self.config.routes, self.config.heartbeat, self)
        self._lock = threading.RLock()
        self._waiting: list[tuple[int, concurrent.futures.Future[None]]] = []
        self._is_caught_up = False
        self.note = ""
        """The number of open alerts, for `gnomon status` and the health of the kernel."""
        self._saved = self._past_until = 0
        self._wake: asyncio.Event
        self._behind: asyncio.Event
        self._kernel: KernelApi

    @property
    def problem(self) -> str | None:
        """What is wrong with the channels; None where all is well."""
        return self._deliveries.problem

    # --- the book, from any thread ---

    @property
    def position(self) -> int:
        """The position of the log up to which this process knows the alerts."""
        return self._detector.position

    @property
    def book(self) -> Book:
        """The book itself, for what runs on the loop of the plugin."""
        return self._detector.state.book

    def tags(self, job_id: str) -> list[str]:
        """Return the tags of a job, also of one that was removed."""
        job = self._detector.state.watch.jobs.get(job_id)
        return job.tags if job is not None else []

    def alerts(self, at: datetime | None = None) -> list[Alert]:
        """Return copies of all alerts that are kept, as they are now or were at a moment, the most urgent first."""
        with self._lock:
            book = self._detector.state.book
            if at is not None:
                book = book.at(at)
            now = at or self._kernel.clock.now()
            found = [shown(alert, now) for alert in book.alerts.values()]
        leaderless = self._parts.leaderless(self._detector.rules, now) if at is None else None
        if leaderless is not None and leaderless.id not in book.alerts:
            found.append(leaderless)
        return sorted(found, key=urgency)

    def alert(self, alert_id: str) -> Alert:
        """Return a copy of an alert as it is now; UnknownAlertError."""
        with self._lock:
            found = self._detector.state.book.find(alert_id)
            if found is None:
                raise UnknownAlertError(alert_id)
            return shown(found, self._kernel.clock.now())

    def history(self, alert_id: str) -> list[AlertFact]:
        """Return the events of an alert, oldest first; UnknownAlertError."""
        with self._lock:
            found = self._detector.state.book.history.get(alert_id)
            if found is None:
                raise UnknownAlertError(alert_id)
            return list(found)

    async def act(self, kernel: KernelApi, act: Act, alerts: Sequence[Alert]) -> None:
        """Record an act on these alerts, and wait until this process has read it."""
        positions = await asyncio.gather(*(kernel.record_fact(act.fact, **act.on(alert)) for alert in alerts))
        await self.wait_for(max(positions, default=0))

    async def wait_for(self, position: int) -> None:
        """Wait until the log is folded up to a position, for SEEN_LIMIT_S at most; on any event loop."""
        seen: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._lock:
            if self.position >= position:
                return
            self._waiting.append((position, seen))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(seen), SEEN_LIMIT_S)

    # --- beside the kernel ---

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: KernelApi) -> AsyncIterator[None]:
        """Load the saved state, fold the log from there on, and where the kernel leads, record alerts and save."""
        self._kernel = kernel
        self._wake, self._behind = asyncio.Event(), asyncio.Event()
        self._is_caught_up = False
        self._deliveries.enter(kernel)
        self._past_until = kernel.health().position
        self._detector = await self._load(kernel)
        async with asyncio.TaskGroup() as tasks:
            # Not before the start: catching up with a long log takes longer than a start may.
            work = [
                tasks.create_task(one)
                for one in (self._catch_up(), self._decide(), self._save_often(), self._deliveries.run())
            ]
            yield
            for task in work:
                task.cancel()
        await self._save()

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        """Fold events that follow on; where some are missing in between, they are read from the log."""
        if events[0].position <= self._detector.position + 1:
            self._fold(events)
        else:
            self._behind.set()

    @hookimpl
    def reload(self, config: Config) -> Iterable[str]:
        """Decide by other rules and notify other channels from now on."""
        with self._lock:
            self.config = config
            self._detector.rules = Rules(config.rules)
            self._detector.decide_all()
        self._wake.set()
        self._deliveries.reload(config.channels, config.routes, config.heartbeat)
        return config.__struct_fields__

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        """Register the alerts as HTTP resources."""
        Resources(self).register(register)
        path = "/scheduler/alert-channels"
        register("GET", path, self.list_channels, role="viewer", tag="alerts")

    async def list_channels(self, _request: Any) -> list[ChannelHealth]:
        """List the channels of notifications: what each last accepted, what waits for it, and what is wrong."""
        kept = await self._kernel.checkpoint(CHANNELS)
        with self._lock:
            return health_of(self._deliveries.channels, kept, self._detector.state.book)

    @hookimpl(optionalhook=True)
    def register_metrics(self, register: Callable[..., None]) -> None:
        """Register the number of open alerts as metrics."""
        help_text = "Alerts that have not ended, by rule, severity and state"
        register("gnomon_alerts", help_text, ("rule", "severity", "state"), self._samples)

    def _samples(self) -> dict[tuple[str, ...], float]:
        alerts = self.alerts()
        return dict(Counter((one.rule, one.severity, one.state) for one in alerts if one.state != "resolved"))

    # --- inside ---

    def _fold(self, events: Sequence[Event]) -> None:
        with self._lock:
            past = [event for event in events if event.position <= self._past_until]
            changes = self._detector.fold(past) if past else []
            self._end_past()
            if len(past) < len(events):
                changes = [*changes, *self._detector.fold(events[len(past) :])]
            seen = [one for position, one in self._waiting if position <= self.position]
            self._waiting = [(position, one) for position, one in self._waiting if position > self.position]
        for one in seen:
            one.set_result(None)
        if changes:
            self._write_note()
            self._deliveries.note()
        if self._detector.has_news:
            self._wake.set()

    def _end_past(self) -> None:
        """Decide about what still lasts, once what happened before this process began has been folded."""
        if self._detector.is_past and self.position >= self._past_until:
            self._detector.decide_all()
            self._detector.end_of_past()

    def _write_note(self) -> None:
        counts = count([alert for alert in self.alerts() if alert.state != "resolved"])
        rest = f"{counts.acknowledged} acknowledged, {counts.snoozed} snoozed"
        is_any = counts.firing + counts.acknowledged + counts.snoozed
        self.note = f"{counts.firing} firing, {rest}" if is_any else "no open alerts"

    async def _load(self, kernel: KernelApi) -> Detector:
        state = None
        checkpoint = await kernel.checkpoint(CHECKPOINT)
        if checkpoint is not None:
            try:
                state = from_checkpoint(checkpoint, max(kernel.health().position, checkpoint.position))
            except UnreadableStateError as exc:
                log.error("alerts are folded again from the log", problem=str(exc))
        rules, text = Rules(self.config.rules), _text(self.config.rules)
        detector = Detector(rules, state)
        # What the rules say about the past is news only where they, and this plugin, were there already.
        detector.is_past = state is None or state.rules != text
        detector.state.rules = text
        return detector

    async def _catch_up(self) -> None:
        while True:
            self._behind.clear()
            try:
                while events := await self._kernel.events(self.position, BLOCK):
                    self._fold(events)
            except GnomonError as exc:
                log.warning("alerts are waiting for the log", problem=str(exc))
                await asyncio.sleep(RETRY_S)
                continue
            with self._lock:
                self._past_until = min(self._past_until, self.position)  # the rest was pruned
                self._end_past()
            self._is_caught_up = True
            self._write_note()
            self._deliveries.note()
            self._wake.set()
            await self._behind.wait()

    async def _decide(self) -> None:
        """Decide what the time and the parts of the deployment decide; record what is due, where the kernel leads."""
        clock = self._kernel.clock
        next_look = clock.monotonic()
        while True:
            await self._woken(next_look - clock.monotonic())
            is_look = clock.monotonic() >= next_look
            if is_look:
                next_look = clock.monotonic() + LOOK_S
                self._write_note()
            if not self._is_caught_up:
                continue
            try:
                await self._decide_now(is_look=is_look)
            except GnomonError as exc:  # the role changes, or the kernel stops
                log.debug("alerts could not be decided", problem=str(exc))
                await asyncio.sleep(RETRY_S)

    async def _woken(self, pause_s: float) -> None:
        """Wait for something to record, or for a pause."""
        pause = asyncio.create_task(self._pause(pause_s))
        woken = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait((pause, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            woken.cancel()
            self._wake.clear()

    async def _pause(self, seconds: float) -> None:
        try:
            await self._kernel.sleep(max(seconds, 0.0))
        except GnomonError:
            await asyncio.sleep(LOOK_S)

    async def _decide_now(self, *, is_look: bool) -> None:
        kernel = self._kernel
        health, now = kernel.health(), kernel.clock.now()
        if health.role == "follower" and is_look:
            self._parts.follow(health, now)
        if health.role != "leader" or self.position < health.position:
            return
        if is_look:
            with self._lock:
                self._detector.note_lingering(health.lingering, now)
                self._detector.look(now)
            await self._parts.look(kernel, self._detector, now)
        with self._lock:
            due = self._detector.due(now)
        if due:
            await self.wait_for(await record(kernel, due, self._detector.state.book))

    async def _save_often(self) -> None:
        took = 0.0
        while True:  # in real time, because this thread is real; less often with thousands of jobs
            is_first = not self._saved and not self._follows
            await asyncio.sleep(FIRST_SAVE_S if is_first else max(self.config.save_every.total_seconds(), took * 50))
            begin = time.monotonic()
            await self._save()
            took = time.monotonic() - begin

    @property
    def _follows(self) -> bool:
        return self._kernel.health().role == "follower"

    async def _save(self) -> None:
        if not self._is_caught_up or self.position == self._saved:
            return
        with self._lock:
            self._detector.forget_old(self._deliveries.wanted)
            if self._follows:
                return
            position, checkpoint = self.position, to_checkpoint(self._detector.state)
        try:
            await self._kernel.save_checkpoint(CHECKPOINT, checkpoint)
        except GnomonError as exc:
            log.warning("alerts could not be saved; they will be saved later", problem=str(exc))
        else:
            self._saved = position


def _text(rules: Sequence[Rule]) -> str:
    """Return rules as text, which differs where they do."""
    return msgspec.json.encode([DEFAULTS, rules], enc_hook=encode_hook).decode()
