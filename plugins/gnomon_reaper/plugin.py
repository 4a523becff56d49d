"""The plugin: a periodic check of the active runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from gnomon import ExecutionOverError, GnomonError, Kernel, hookimpl
from gnomon.api import LiveRun
from gnomon.durations import Duration
from gnomon_reaper.watch import Watch, Watched
from gnomon_reaper.wording import verdict, warning

log = structlog.stdlib.get_logger("gnomon.reaper")

ACTOR = "reaper"
LOOKS = 20
"""Checks per `threshold` period; more than one, to detect stalls of the kernel itself."""
LATE_LOOK_S = 1.0
"""A check that is later than this, or than the time between two checks, shows that the kernel stalled."""


class ReaperPlugin:
    """Ends each run that has given no sign of life for `threshold`, as failed with reason `zombie`.

    At the share `warn_at` of the threshold it warns about a run, once for each silence. Jobs with a `silence` of their
    own are left to the kernel. It checks every `interval`, and whenever a run reaches one of its limits.
    """

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """`warn_at` is a share of the threshold; 1 disables warnings."""

        interval: Duration = Duration(minutes=5)
        threshold: Duration = Duration(minutes=30)
        warn_at: float = 0.8

        def __post_init__(self) -> None:
            """Refuse values out of range."""
            for name in ("interval", "threshold"):
                if getattr(self, name) <= timedelta(0):
                    raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
            if not 0 < self.warn_at <= 1:
                raise ValueError(f"warn_at must be more than 0 and at most 1, got {self.warn_at}")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._interval = self.config.interval.total_seconds()
        self._threshold = self.config.threshold.total_seconds()
        self._warn_after = self._threshold * self.config.warn_at
        self._warned: set[str] = set()
        self._due: float | None = None
        self._attentive_since = float("-inf")
        self._kernel: Kernel

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
        """Check periodically while the kernel runs."""
        self._kernel = kernel
        checks = asyncio.create_task(self._check_periodically(kernel))
        try:
            yield
        finally:
            checks.cancel()
            with suppress(asyncio.CancelledError):
                await checks

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        """Register the list of watched runs as an HTTP resource."""
        register("GET", "/scheduler/watch", self.answer, role="viewer", tag="reaper")

    async def answer(self, _request: Any) -> Watch:
        """Return the runs that the reaper watches, and how long each has been silent."""
        runs = sorted(await self._watched(self._kernel), key=lambda run: -run.quiet)
        return Watch(
            self._warn_after,
            self._threshold,
            [
                Watched(run.execution.id, run.job.id, round(run.quiet, 3), run.execution.id in self._warned)
                for run in runs
            ],
        )

    async def _check_periodically(self, kernel: Kernel) -> None:
        while True:
            try:
                pause_s = await self.check(kernel)
            except GnomonError as exc:  # the kernel was deposed, or is stopping: the next check will show
                pause_s = self._interval
                log.warning("the reaper could not check the runs", problem=str(exc), next_check_s=pause_s)
            pause_s = min(pause_s, self._threshold / LOOKS)
            self._due = kernel.clock.monotonic() + pause_s
            await kernel.sleep(pause_s)

    async def check(self, kernel: Kernel) -> float:
        """Warn about silent runs and end dead ones; return the seconds until the next check."""
        await kernel.live_runs()  # a kernel whose loop is blocked answers late
        self._note_late_look(kernel.clock.monotonic())
        runs = await self._watched(kernel)
        self._warned &= {run.execution.id for run in runs}
        pause_s = self._interval
        for run in runs:
            with suppress(ExecutionOverError):  # it ended during the check of the others
                pause_s = min(pause_s, await self._check_run(kernel, run))
        return pause_s

    def _note_late_look(self, now: float) -> None:
        if self._due is not None and now - self._due > max(self._threshold / LOOKS, LATE_LOOK_S):
            # The kernel was stopped, suspended or blocked, the runs perhaps too, and their signs of life may be unread.
            log.warning("runs were not looked at, and get the full threshold again", seconds=round(now - self._due, 1))
            self._attentive_since = now
        self._due = None

    async def _watched(self, kernel: Kernel) -> list[LiveRun]:
        """Return the runs to watch. Time in which the kernel did not look does not count as silence."""
        runs = [run for run in await kernel.live_runs() if run.job.silence is None]
        now = kernel.clock.monotonic()
        return [msgspec.structs.replace(run, quiet=min(run.quiet, now - self._attentive_since)) for run in runs]

    async def _check_run(self, kernel: Kernel, run: LiveRun) -> float:
        """Warn about a run or end it where needed; return the seconds until it needs the next check."""
        identity = run.execution.id
        if run.quiet >= self._threshold:
            message = verdict(run, self.config.threshold)
            await kernel.fail(identity, message, reason="zombie", force=True, actor=ACTOR)
            return self._interval
        if run.quiet < self._warn_after:
            self._warned.discard(identity)
            return self._warn_after - run.quiet
        if identity not in self._warned:
            self._warned.add(identity)  # before anyone can see the event
            await kernel.warn(identity, "silence", warning(run, self.config.threshold), actor=ACTOR)
        return self._threshold - run.quiet
