"""Checks the jobs that are ordered while a kernel runs: imports what they name, and computes their fires.

A schedule from outside may take any time to compute, and no thread can be ended. So only a few orders are checked at
once, each for a limited time; one that does not end keeps its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec

from gnomon.analysis.preview import preview
from gnomon.domain.job_preview import JobPreview, KeyProblem
from gnomon.domain.job_state import JobState
from gnomon.engine.job_table import JobTable
from gnomon.engine.kernel_settings import KernelSettings
from gnomon.errors import ForeignJobError
from gnomon.jobs.job_draft import JobDraft, OrderRules, draft_job
from gnomon.jobs.job_keys import JobKeys
from gnomon.jobs.runner_names import Runners
from gnomon.plugins.job_key_owners import job_key_owners
from gnomon.plugins.plugin_set import PluginSet
from gnomon.threads import ThreadPlaces

T = TypeVar("T")

AT_ONCE = 4
LIMIT_S = 10.0
TOO_SLOW = KeyProblem("", f"cannot be checked within {LIMIT_S:g} s: simplify the schedule, or try again later")


class JobPreviewer:
    """Checks the keys of jobs against the plugins, the declared jobs and the allowed functions of a kernel."""

    def __init__(
        self,
        jobs: JobTable,
        plugins: PluginSet,
        settings: KernelSettings,
        runners: Runners,
    ) -> None:
        self._groups = settings.groups
        self._runners = runners
        self._jobs = jobs
        self._plugins = plugins
        self._clock = settings.clock
        self._allowed = settings.allowed
        self._timezone = settings.timezone
        self._arguments_limit = settings.arguments_limit
        self._places = ThreadPlaces("gnomon job preview", AT_ONCE, LIMIT_S)

    async def preview(self, keys: Mapping[str, Any], state: JobState | None, *, trusted: bool) -> JobPreview:
        """Return what these keys of a job would do; `state` is that of the job with their id."""
        now, rules = self._clock.now(), self.rules(trusted=trusted)
        known = msgspec.structs.replace(state) if state is not None else None  # the loop goes on changing its own
        found = await self._within_limit(lambda: preview(keys, rules, known, now)[0])
        if found is None:
            return JobPreview(problems=[TOO_SLOW])
        if known is not None and (defined := self._jobs.find_defined(known.job_id)) is not None:
            found.warnings.append(KeyProblem("id", str(ForeignJobError(known.job_id, defined.defined_by))))
        return found

    async def draft(
        self,
        keys: Mapping[str, Any],
        present: Mapping[str, Any] | None,
        *,
        trusted: bool,
        is_whole: bool,
        beside: Collection[str] = (),
    ) -> JobDraft:
        """Check the keys of a job; `present` is the definition that they replace; see `draft_job`."""
        rules = self.rules(trusted=trusted, beside=beside)
        found = await self._within_limit(lambda: draft_job(keys, rules, present, is_whole=is_whole))
        return found if found is not None else JobDraft(problems=[TOO_SLOW])

    def rules(self, *, trusted: bool, beside: Collection[str] = ()) -> OrderRules:
        """Return what an order is checked against; a trusted sender may name any function.

        `beside` are the ids of jobs that are added with it.
        """
        return OrderRules(
            keys=JobKeys(job_key_owners(self._plugins, []), groups=self._groups, runners=self._runners),
            declared=self._jobs.find_defined,
            declared_ids=lambda: [one.job.id for one in list(self._jobs) if one.origin != "api"],
            exists=lambda job_id: job_id in beside or self._jobs.get(job_id) is not None,
            allowed=None if trusted else self._allowed,
            timezone=self._timezone,
            arguments_limit=self._arguments_limit,
        )

    async def _within_limit(self, call: Callable[[], T]) -> T | None:
        """Call in a thread, and return None where that takes too long."""
        try:
            return await self._places.run(call)
        except TimeoutError:
            return None
