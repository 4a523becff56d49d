"""Collect the jobs of a deployment from the places that define jobs: the config, @job functions and plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from gnomon.conversion import Table
from gnomon.deployment.config import Config, job_place
from gnomon.deployment.plugin_loading import is_enabled, plugin_with_job_key
from gnomon.domain.events import Origin
from gnomon.errors import JobError, PluginError
from gnomon.jobs.callables import import_module, reference
from gnomon.jobs.decorator import jobs_in
from gnomon.jobs.dependencies import check_dependencies
from gnomon.jobs.job import Job
from gnomon.jobs.job_keys import JOB_KEYS, JobKeys
from gnomon.jobs.registered import RegisteredJob
from gnomon.jobs.runner_names import NO_RUNNERS, Runners
from gnomon.plugins.contributions import contributed_runners
from gnomon.plugins.job_key_owners import job_key_owners
from gnomon.plugins.plugin_set import PluginSet
from gnomon.text import close_match, nearest


class DeclaredJob(msgspec.Struct, frozen=True):
    """A job and its place, as problems name it: `jobs[2 'x']`, `@job app:sync` or `plugin 'echo' job 'x'`.

    `plugin_job` has the plugin and the id of the plugin's job that this is, or that the table `changes` changes.
    `source` names what defines it, for messages.
    """

    place: str
    job: Job
    origin: Origin
    source: str
    plugin_job: tuple[str, str] | None = None
    changes: Table | None = None


def collect_jobs(
    config: Config,
    plugins: PluginSet,
    problems: list[str],
    warnings: list[str],
    running: PluginSet | None = None,
) -> list[RegisteredJob]:
    """Register all jobs; what is wrong with a definition is added to `problems`, what is doubtful to `warnings`.

    The bodies of plugins' jobs belong to their plugin, which must have been started. So with `running`, the plugins of
    a kernel, the jobs of plugins are those of the running plugins, and jobs that only `plugins` have are left out.
    """
    collection = _Collection(config, plugins, problems, warnings)
    jobs = collection.jobs()
    return jobs if running is None or problems else collection.jobs_of_running(running)


class _Collection:
    def __init__(self, config: Config, plugins: PluginSet, problems: list[str], warnings: list[str]) -> None:
        self._config = config
        self._plugins = plugins
        self._problems = problems
        self._warnings = warnings
        self._owners = job_key_owners(plugins, problems)
        self._keys = JobKeys(self._owners, self._explain_key, config.groups, self._runners())
        self._declared: dict[str, DeclaredJob] = {}
        self._registered: list[tuple[DeclaredJob, RegisteredJob | None]] = []

    def jobs(self) -> list[RegisteredJob]:
        for declared in (*self._from_modules(), *self._from_plugins(self._plugins)):
            other = self._declared.setdefault(declared.job.id, declared)
            if other is not declared:
                self._problems.append(f"{declared.place}: the id {declared.job.id!r} is already taken by {other.place}")
        configured = self._from_config()
        left = [declared for declared in self._declared.values() if declared.job.id not in configured]
        every = {declared.job.id: declared for declared in (*left, *configured.values())}
        self._registered = [(declared, self._register(declared)) for declared in every.values()]
        for job_id, problem in check_dependencies({job_id: declared.job for job_id, declared in every.items()}):
            self._problems.append(f"{every[job_id].place}.after: {problem}")
        return [job for _, job in self._registered if job is not None]

    def jobs_of_running(self, running: PluginSet) -> list[RegisteredJob]:
        """Return the jobs that were collected, with the jobs of running plugins in place of those of new ones."""
        live = {declared.plugin_job: declared.job for declared in self._from_plugins(running)}
        jobs = []
        for declared, registered in self._registered:
            job = registered
            if declared.plugin_job is not None:
                base = live.get(declared.plugin_job)
                job = self._rebase(declared, base) if base is not None else None
            if job is not None:
                jobs.append(job)
        return jobs

    def _rebase(self, declared: DeclaredJob, base: Job) -> RegisteredJob | None:
        """Register a plugin's job, with what the config changes in it."""
        changes = declared.changes
        job = base if changes is None else self._convert(changes, declared.place, base)
        return self._register(msgspec.structs.replace(declared, job=job)) if job is not None else None

    # --- sources ---

    def _from_modules(self) -> Iterator[DeclaredJob]:
        for name in self._config.kernel.modules:
            try:
                jobs = jobs_in(import_module(name, name))
            except JobError as exc:
                self._problems.append(f"kernel.modules: {exc}")
                continue
            if not jobs:
                self._problems.append(f"kernel.modules: {name!r} has no jobs; decorate a function in it with @job")
            places = ((f"@job {reference(job.func)}", job) for job in jobs)
            yield from (DeclaredJob(place, job, "code", place) for place, job in places)

    def _from_plugins(self, plugins: PluginSet) -> Iterator[DeclaredJob]:
        for plugin in plugins:
            try:
                defined = plugin.jobs()
            except PluginError as exc:
                self._problems.append(str(exc))
                continue
            for item in defined:
                place = f"plugin {plugin.name!r} job {item.id if isinstance(item, Job) else item.get('id')!r}"
                job = item if isinstance(item, Job) else self._convert(item, place)
                if job is not None:
                    yield DeclaredJob(place, job, "plugin", f"plugin {plugin.name!r}", (plugin.name, job.id))

    def _from_config(self) -> dict[str, DeclaredJob]:
        configured: dict[str, DeclaredJob] = {}
        for i, table in enumerate(self._config.jobs):
            place, func = job_place(i, table), table.get("func")
            is_id = isinstance(func, str) and ":" not in func
            base = self._declared.get(str(func)) if is_id else None
            job = self._convert(table, place, base.job if base else None)
            if is_id and base is None:
                self._problems.append(f"{place}.func: {self._no_such_job(str(func))}")
            elif job is not None and self._is_free(job.id, place, base, configured):
                source = str(self._config.file) if self._config.file is not None else "the config"
                plugin_job = base.plugin_job if base else None
                configured[job.id] = DeclaredJob(place, job, "config", source, plugin_job, table)
        return configured

    def _is_free(
        self, job_id: str, place: str, base: DeclaredJob | None, configured: Mapping[str, DeclaredJob]
    ) -> bool:
        other = configured.get(job_id) or self._declared.get(job_id)
        if other is None or other is base:
            return True
        hint = "" if job_id in configured else f"; to change that job, write `func = {job_id!r}`"
        self._problems.append(f"{place}.id: the id {job_id!r} is already taken by {other.place}{hint}")
        return False

    def _no_such_job(self, func: str) -> str:
        known = sorted(self._declared)
        hint = close_match(func, known) or (f" ({', '.join(known)})" if known else " (there are none)")
        return (
            f'there is no job {func!r}: expected "package.module:callable", or the id of a job from a plugin or from '
            f"[kernel] modules{hint}"
        )

    # --- checks ---

    def _convert(self, table: Table, place: str, base: Job | None = None) -> Job | None:
        return self._keys.convert(table, place, self._problems, self._warnings, base)

    def _register(self, declared: DeclaredJob) -> RegisteredJob | None:
        settings = self._config.kernel
        registered = self._keys.register(
            declared.job,
            declared.place,
            self._problems,
            self._warnings,
            timezone=settings.timezone,
            arguments_limit=settings.arguments_limit,
        )
        if registered is not None:
            registered.origin, registered.source = declared.origin, declared.source
        return registered

    def _runners(self) -> Runners:
        try:
            return contributed_runners(self._plugins)
        except PluginError as exc:
            self._problems.append(str(exc))
            return NO_RUNNERS

    def _explain_key(self, key: str) -> str | None:
        """Return which plugin an unknown key belongs to, or may belong to."""
        loaded = {plugin.name for plugin in self._plugins}
        if (found := plugin_with_job_key(key, self._config, loaded)) is not None:
            if is_enabled(found, self._config):
                return f"belongs to the plugin {found.name!r}, which could not be loaded"
            return f"belongs to the plugin {found.name!r}, which is not enabled; add [plugins.{found.name}]"
        wanted = (*self._config.sections, *(path.stem.removeprefix("gnomon_") for path in self._config.plugin_paths))
        failed = [name for name in wanted if name not in loaded]
        if failed and nearest(key, {*JOB_KEYS, *self._owners}) is None:
            names = " or ".join(map(repr, failed))
            return f"unknown key; it may belong to the plugin {names}, which could not be loaded"
        return None
