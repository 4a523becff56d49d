"""What the config file enables: a look, again and again, at the runs that are going."""

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


class ReaperPlugin:
    """Ends each run that has given no sign of life for `threshold`, as failed with reason `zombie`.

    At the share `warn_at` of the threshold a run is warned about, once for each silence. Jobs with a `silence` of their
    own are left to the kernel. A look is taken every `interval`, and whenever a run comes to one of its limits.
    """

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """`warn_at` is a share of the threshold; with 1 nobody is warned."""

        interval: Duration = Duration(minutes=5)
        threshold: Duration = Duration(minutes=30)
        warn_at: float = 0.8

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
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
        self._kernel: Kernel

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
        """Look for as long as the kernel runs."""
        self._kernel = kernel
        looking = asyncio.create_task(self._keep_looking(kernel))
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        """Offer what is watched where HTTP is served."""
        register("GET", "/scheduler/watch", self.answer, role="viewer", tag="reaper")

    async def answer(self, _request: Any) -> Watch:
        """List the runs that the reaper watches, and how long each has been silent."""
        runs = sorted(await self._watched(self._kernel), key=lambda run: -run.quiet)
        return Watch(
            self._warn_after,
            self._threshold,
            [
                Watched(run.execution.id, run.job.id, round(run.quiet, 3), run.execution.id in self._warned)
                for run in runs
            ],
        )

    async def _keep_looking(self, kernel: Kernel) -> None:
        while True:
            try:
                pause = await self.look(kernel)
            except GnomonError as exc:  # the log is not ours any more, or the kernel is going: the next look will tell
                pause = self._interval
                log.warning("the reaper could not look", problem=str(exc), next_look_s=pause)
            await kernel.sleep(pause)

    async def look(self, kernel: Kernel) -> float:
        """Warn about the runs that need it, end those that are dead; returns the seconds until the next look."""
        runs = await self._watched(kernel)
        self._warned &= {run.execution.id for run in runs}
        pause = self._interval
        for run in runs:
            with suppress(ExecutionOverError):  # it ended while the others were looked at
                pause = min(pause, await self._look_at(kernel, run))
        return pause

    async def _watched(self, kernel: Kernel) -> list[LiveRun]:
        return [run for run in await kernel.live_runs() if run.job.silence is None]

    async def _look_at(self, kernel: Kernel, run: LiveRun) -> float:
        """Do what one run needs, and return the seconds until it may need more."""
        identity = run.execution.id
        if run.quiet >= self._threshold:
            await kernel.fail(identity, verdict(run, self.config.threshold), reason="zombie", actor=ACTOR)
            return self._interval
        if run.quiet < self._warn_after:
            self._warned.discard(identity)
            return self._warn_after - run.quiet
        if identity not in self._warned:
            self._warned.add(identity)  # before the event is seen by anybody
            await kernel.warn(identity, "silence", warning(run, self.config.threshold), actor=ACTOR)
        return self._threshold - run.quiet
