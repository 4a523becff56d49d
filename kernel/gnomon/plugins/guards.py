"""Guards: the `guard` hooks of all plugins, called in a thread before fires are accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from gnomon.jobs.job import Job
from gnomon.jobs.registered import own_job
from gnomon.logs import get_logger
from gnomon.plugins.calls import PluginCallError, contained
from gnomon.plugins.plugin_set import Plugin, PluginSet
from gnomon.safe_text import exact, safe_repr, safe_str, safe_traceback
from gnomon.threads import in_thread

log = get_logger("gnomon.plugins.guards")

Fire: TypeAlias = tuple[Job, datetime]
Vetoes: TypeAlias = Mapping[tuple[str, datetime], str]
"""The reason of each fire that must not run, by job id and scheduled time."""

THREAD = "gnomon guards"


class Guards:
    """Asks the plugins whether fires may run. No guard can stop the clock or, by failing, a job."""

    def __init__(self, plugins: PluginSet, timeout_s: float) -> None:
        self._plugins = plugins
        self._timeout_s = timeout_s
        self._asked: Plugin | None = None  # whose guard is being called, or was called last
        self._call: asyncio.Future[Vetoes] | None = None
        self._turn = asyncio.Lock()

    @property
    def are_any(self) -> bool:
        """Whether a plugin has a guard."""
        return self._plugins.has_hook("guard")

    async def vetoes(self, fires: Sequence[Fire]) -> Vetoes:
        """Return the vetoed fires with their reasons.

        Fires run unguarded when the guards take longer than the time limit. A guard that hangs is not called again
        before it has returned.
        """
        if not fires or not self.are_any:
            return {}
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                if self._call is not None and not self._call.done():
                    log.error("guards do not respond, fires run unguarded", plugin=self._name(), fires=len(fires))
                    return {}
                self._call = in_thread(lambda: self._call_guards(fires), name=THREAD)
                return await asyncio.shield(self._call)
        except RuntimeError as exc:  # the machine has no thread left, which must not stop the clock
            log.error("guards cannot be called, fires run unguarded", problem=safe_str(exc), fires=len(fires))
            return {}
        except TimeoutError:
            limit = self._timeout_s
            if self._asked is not None:
                problem = f"hook guard has not returned for {limit:g} s, so fires run unguarded until it does"
                self._asked.guard_problem = problem
            log.error("guards took too long, fires run unguarded", plugin=self._name(), limit_s=limit, fires=len(fires))
            return {}

    def veto(self, job: Job, scheduled_time: datetime) -> str | None:
        """Call all guards for one fire and return the first reason against it. A guard that fails has no veto."""
        for plugin, impl in self._plugins.implementations("guard"):
            self._asked = plugin
            try:
                with contained():
                    available = {"job": own_job(job), "scheduled_time": scheduled_time}
                    reason: object = impl.function(*(available[name] for name in impl.argnames))
                    if reason is not None and not isinstance(reason, str):
                        raise TypeError(f"expected a sentence or None, got {safe_repr(reason)}")
                    reason = None if reason is None else exact(reason)
            except PluginCallError as exc:  # a guard that fails must not stop a job
                plugin.guard_problem = f"hook guard failed, so {job.id!r} ran unguarded: {exc}"
                trace = safe_traceback(exc.__cause__ or exc)
                log.error("guard failed, the fire runs unguarded", plugin=plugin.name, job=job.id, exception=trace)
            else:
                plugin.guard_problem = None
                if reason:
                    return reason
        return None

    def _call_guards(self, fires: Sequence[Fire]) -> Vetoes:
        answers = (((job.id, fire), self.veto(job, fire)) for job, fire in fires)
        return {key: reason for key, reason in answers if reason is not None}

    def _name(self) -> str | None:
        return self._asked.name if self._asked is not None else None
