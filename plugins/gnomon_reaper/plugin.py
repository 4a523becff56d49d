"""The plugin: a periodic check of the active runs, which is also a job: it can be paused, triggered and looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from gnomon import ExecutionOverError, GnomonError, Kernel, UnknownJobError, hookimpl
from gnomon.api import LiveRun
from gnomon.durations import Duration
from gnomon.logs import get_logger
from gnomon.stalls import is_stall, longest_pause
from gnomon_reaper.watch import Watch, Watched
from gnomon_reaper.wording import verdict, warning

log = get_logger("gnomon.reaper")

ACTOR = "reaper"
SHORTEST = Duration(seconds=1)
"""The shortest interval and threshold: each check looks at all runs that are active."""
MOST_OFTEN = Duration(minutes=1)
"""The job does not run more often, so that its runs do not fill the log."""


class Findings(msgspec.Struct):
    """The result of a check: how many runs were watched, which were warned about or ended, and when it is due again."""

    watched: int = 0
    warned: list[str] = []
    ended: list[str] = []
    next_s: float = 0.0

    def due_in(self, seconds: float) -> None:
        """Note that a run needs the next check in so many seconds."""
        self.next_s = min(self.next_s, seconds)


class ReaperPlugin:
    """Ends each run that has given no sign of life for `threshold`, as failed with reason `zombie`.

    At the share `warn_at` of the threshold it warns about a run, once for each silence. Jobs with a `silence` of their
    own are left to the kernel. It checks every `interval`, and whenever a run reaches one of its limits.

    The check is the job `job_id` as well, whose runs say what was found. While that job is paused, nothing is checked.
    The runs of the job need slots, which hung runs may occupy; the checks in between need none. It runs with the kernel
    that leads, which has the bodies.
    """

    role = "leader"

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """`warn_at` is a share of the threshold; 1 disables warnings. With an empty `job_id` there is no job."""

        interval: Duration = Duration(minutes=5)
        threshold: Duration = Duration(minutes=30)
        warn_at: float = 0.8
        job_id: str = "gnomon.reaper"

        def __post_init__(self) -> None:
            """Refuse values out of range."""
            for name in ("interval", "threshold"):
                if getattr(self, name) < SHORTEST:
                    raise ValueError(f"{name} must be {SHORTEST} or more, got {getattr(self, name)}")
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
        self._loop: asyncio.AbstractEventLoop | None = None

    @hookimpl
    def register_jobs(self, register: Callable[..., None]) -> None:
        """Register the check as a job."""
        if self.config.job_id:
            register(
                id=self.config.job_id,
                func=self.check_once,
                name="Check for hung runs",
                description=f"Warns about runs without a sign of life, and ends them after {self.config.threshold}.",
                every=max(self.config.interval, MOST_OFTEN),
                catch_up="none",
                timeout="5m",
            )

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
        """Check periodically while the kernel runs."""
        self._kernel = kernel
        self._warned, self._due, self._attentive_since = set(), None, float("-inf")  # of an earlier term
        self._loop = asyncio.get_running_loop()
        checks = asyncio.create_task(self._check_periodically(kernel))
        try:
            yield
        finally:
            self._loop = None
            checks.cancel()
            with suppress(asyncio.CancelledError):
                await checks

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        """Register the list of watched runs as an HTTP resource."""
        register("GET", "/scheduler/watch", self.answer, role="viewer", tag="reaper")

    async def answer(self, _request: Any) -> Watch:
        """Return the runs that the reaper watches, and how long each has been silent."""
        live = await self._kernel.live_runs()
        runs = sorted(self._watched(live, self._kernel.clock.monotonic()), key=lambda run: -run.quiet)
        return Watch(
            self._warn_after,
            self._threshold,
            [
                Watched(run.execution.id, run.job.id, round(run.quiet, 3), run.execution.id in self._warned)
                for run in runs
            ],
        )

    async def check_once(self) -> dict[str, Any]:
        """Check the runs and return what was found: the body of the job, which runs on the loop of the kernel."""
        if self._loop is None:
            raise GnomonError("the reaper is not running yet, or not any more: trigger the job again")
        # The state of the checks belongs to the loop of the plugin.
        check = asyncio.run_coroutine_threadsafe(self._find(self._kernel), self._loop)
        found = await asyncio.wrap_future(check)
        return {"watched": found.watched, "warned": found.warned, "ended": found.ended}

    async def _check_periodically(self, kernel: Kernel) -> None:
        while True:
            pause_s, began = self._interval, kernel.clock.monotonic()
            try:
                if not await self._is_paused(kernel):
                    pause_s = await self.check(kernel)
            except GnomonError as exc:  # the kernel was deposed, or is stopping: the next check will show
                log.warning("the reaper could not check the runs", problem=str(exc), next_check_s=pause_s)
            pause_s = min(pause_s, longest_pause(self._threshold))
            self._due = began + pause_s  # not later: a pause while it checks makes the next check late as well
            await kernel.sleep(pause_s)

    async def _is_paused(self, kernel: Kernel) -> bool:
        if not self.config.job_id:
            return False
        try:
            return (await kernel.job(self.config.job_id)).state.paused
        except UnknownJobError:  # the kernel was made without the jobs of its plugins
            return False

    async def check(self, kernel: Kernel) -> float:
        """Warn about silent runs and end dead ones; return the seconds until the next check."""
        return (await self._find(kernel)).next_s

    async def _find(self, kernel: Kernel) -> Findings:
        live = await kernel.live_runs()  # a kernel whose loop is blocked answers late
        now = kernel.clock.monotonic()  # after the answer: a pause in between is a late look, and no silence
        self._note_late_look(now)
        runs = self._watched(live, now)
        self._warned &= {run.execution.id for run in runs}
        found = Findings(len(runs), next_s=self._interval)
        for run in runs:
            with suppress(ExecutionOverError):  # it ended during the check of the others
                await self._check_run(kernel, run, found)
        return found

    def _note_late_look(self, now: float) -> None:
        if self._due is not None and is_stall(now - self._due, self._threshold):
            late_s = round(now - self._due, 1)
            log.warning("runs were not looked at, and get the full threshold again", seconds=late_s)
            self._attentive_since = now
            self._due = None

    def _watched(self, live: list[LiveRun], now: float) -> list[LiveRun]:
        """Return the runs to watch. Time in which the kernel did not look does not count as silence."""
        runs = [run for run in live if run.job.silence is None and run.job.id != self.config.job_id]
        return [msgspec.structs.replace(run, quiet=min(run.quiet, now - self._attentive_since)) for run in runs]

    async def _check_run(self, kernel: Kernel, run: LiveRun, found: Findings) -> None:
        """Warn about a run or end it where needed."""
        identity = run.execution.id
        if run.quiet >= self._threshold:
            message = verdict(run, self.config.threshold)
            await kernel.fail(identity, message, reason="zombie", force=True, actor=ACTOR)
            found.ended.append(identity)
            return
        if run.quiet < self._warn_after:
            self._warned.discard(identity)
            found.due_in(self._warn_after - run.quiet)
            return
        if identity not in self._warned:
            self._warned.add(identity)  # before anyone can see the event
            found.warned.append(identity)
            await kernel.warn(identity, "silence", warning(run, self.config.threshold), actor=ACTOR)
        found.due_in(self._threshold - run.quiet)
