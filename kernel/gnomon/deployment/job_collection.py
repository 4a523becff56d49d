"""Collect the jobs of a deployment from the places that define jobs: the config, @job functions and plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gnomon.conversion import Table, convert, unknown_key
from gnomon.deployment.config import Config, job_place
from gnomon.deployment.plugin_loading import plugin_with_job_key
from gnomon.errors import ConfigError, JobError, PluginError
from gnomon.jobs.callables import import_module, reference
from gnomon.jobs.decorator import jobs_in
from gnomon.jobs.job import SCHEDULES, Job
from gnomon.jobs.plain_secrets import plain_secrets
from gnomon.jobs.registered import JobProblem, RegisteredJob, check_job
from gnomon.plugins.plugin_set import PluginSet
from gnomon.sourced_values import SourcedTable, origin_of, sources_of, typed
from gnomon.text import close_match, nearest

JOB_KEYS = frozenset(field.encode_name for field in msgspec.structs.fields(Job))


class DeclaredJob(msgspec.Struct, frozen=True):
    """A job and its place, as problems name it: `jobs[2 'x']`, `@job app:sync` or `plugin 'echo' job 'x'`.

    `origin` has the plugin and the id of the plugin's job that this is, or that the table `changes` changes.
    """

    place: str
    job: Job
    origin: tuple[str, str] | None = None
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
        self._owners = self._find_owners()
        self._declared: dict[str, DeclaredJob] = {}
        self._registered: list[tuple[DeclaredJob, RegisteredJob | None]] = []

    def jobs(self) -> list[RegisteredJob]:
        for declared in (*self._from_modules(), *self._from_plugins(self._plugins)):
            other = self._declared.setdefault(declared.job.id, declared)
            if other is not declared:
                self._problems.append(f"{declared.place}: the id {declared.job.id!r} is already taken by {other.place}")
        configured = self._from_config()
        left = [declared for declared in self._declared.values() if declared.job.id not in configured]
        self._registered = [(declared, self._register(declared)) for declared in (*left, *configured.values())]
        return [job for _, job in self._registered if job is not None]

    def jobs_of_running(self, running: PluginSet) -> list[RegisteredJob]:
        """Return the jobs that were collected, with the jobs of running plugins in place of those of new ones."""
        live = {declared.origin: declared.job for declared in self._from_plugins(running)}
        jobs = []
        for declared, registered in self._registered:
            job = registered
            if declared.origin is not None:
                base = live.get(declared.origin)
                job = self._rebase(declared, base) if base is not None else None
            if job is not None:
                jobs.append(job)
        return jobs

    def _rebase(self, declared: DeclaredJob, base: Job) -> RegisteredJob | None:
        """Register a plugin's job, with what the config changes in it."""
        changes = declared.changes
        job = base if changes is None else self._convert(changes, declared.place, base)
        return self._register(msgspec.structs.replace(declared, job=job)) if job is not None else None

    def _find_owners(self) -> dict[str, type[msgspec.Struct]]:
        """Return, for each job key that a plugin defines, the Struct of its plugin."""
        owners: dict[str, type[msgspec.Struct]] = {}
        for plugin in self._plugins:
            for field in msgspec.structs.fields(plugin.job_options) if plugin.job_options else ():
                key = field.encode_name
                if key in JOB_KEYS or key in owners:
                    self._problems.append(
                        f"plugin {plugin.name!r} defines the job key {key!r}, which is already taken: rename it"
                    )
                elif plugin.job_options:
                    owners[key] = plugin.job_options
        return owners

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
            yield from (DeclaredJob(f"@job {reference(job.func)}", job) for job in jobs)

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
                    yield DeclaredJob(place, job, (plugin.name, job.id))

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
                configured[job.id] = DeclaredJob(place, job, base.origin if base else None, table)
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
        """Convert a table to a job; keys of plugins become options, missing keys come from `base`."""
        unknown = [key for key in table if key not in JOB_KEYS and key not in self._owners]
        self._problems += [self._no_such_key(place, key) for key in unknown]
        own = _part(table, {key: value for key, value in table.items() if key in JOB_KEYS})
        if owned := self._owned(table):
            own["options"] = _merged(own.get("options", {}), owned)
        self._drop_empty_schedules(own, place)
        if base is not None:
            sources_of(own).pop(("func",), None)  # the id of the job, in whose place its function comes
            own = _part(own, _override(base, own))
        try:
            return convert(own, Job, place)
        except ConfigError as exc:
            self._problems += exc.problems
            return None

    def _owned(self, table: Table) -> dict[str, Any]:
        """Return the keys of plugins, with the values from the environment in the types that their plugins expect."""
        owned: dict[str, Any] = {}
        for key, value in table.items():
            if key in self._owners:
                owned[key] = typed(_part(table, {key: value}), self._owners[key])[key]
        return owned

    def _drop_empty_schedules(self, table: dict[str, Any], place: str) -> None:
        """Remove empty schedules, with a warning if none is left: a variable can be empty, not absent."""
        empty = [key for key in SCHEDULES if isinstance(found := table.get(key), str) and not found.strip()]
        has_other = any(table.get(key) is not None for key in SCHEDULES if key not in empty)
        for key in empty:
            origin = origin_of(table, f".{key}")
            if not has_other:
                self._warnings.append(
                    f"{place}.{key}: is empty{f' (from {origin})' if origin else ''}, so the job has no schedule and "
                    "runs only when it is triggered"
                )
            table[key] = None
            sources_of(table).pop((key,), None)  # else the conversion would put the empty text back

    def _register(self, declared: DeclaredJob) -> RegisteredJob | None:
        problems: list[JobProblem] = []
        registered = check_job(
            declared.job, self._config.kernel.timezone, problems, self._config.kernel.arguments_limit
        )
        for key, error in problems:
            self._problems.append(f"{declared.place}{key and '.'}{key}: {error}")
        self._check_options(declared)
        for name in ("args", "kwargs"):
            for where, reason in plain_secrets(getattr(declared.job, name), f"{declared.place}.{name}"):
                self._warnings.append(
                    f"{where}: looks like a secret ({reason}), and the log, the API and every viewer show it; write "
                    '{ env = "NAME" } or { file = "path" } in its place'
                )
        return registered

    def _no_such_key(self, place: str, key: str) -> str:
        if plugin := plugin_with_job_key(key, self._config):
            return f"{place}.{key}: belongs to the plugin {plugin!r}, which is not enabled; add [plugins.{plugin}]"
        loaded = {plugin.name for plugin in self._plugins}
        failed = [name for name in self._config.sections if name not in loaded]
        if failed and key not in Job.KEY_HINTS and nearest(key, {*JOB_KEYS, *self._owners}) is None:
            names = " or ".join(map(repr, failed))
            return f"{place}.{key}: unknown key; it may belong to the plugin {names}, which could not be loaded"
        return unknown_key(place, key, {*JOB_KEYS, *self._owners}, Job.KEY_HINTS)

    def _check_options(self, declared: DeclaredJob) -> None:
        options = declared.job.options
        unknown = [key for key in options if key not in self._owners]
        self._problems += [unknown_key(f"{declared.place}.options", key, self._owners) for key in unknown]
        for owner in dict.fromkeys(self._owners[key] for key in options if key in self._owners):
            owned = {key: value for key, value in options.items() if self._owners.get(key) is owner}
            try:
                convert(owned, owner, declared.place)
            except ConfigError as exc:
                self._problems += exc.problems


def _override(base: Job, table: Table) -> dict[str, Any]:
    """Return the keys of a job with some replaced; any schedule replaces the schedule of the job."""
    inherited = msgspec.structs.asdict(base)
    if any(key in table for key in SCHEDULES):
        inherited = {key: value for key, value in inherited.items() if key not in SCHEDULES}
    changed = {key: value for key, value in table.items() if key != "func"}
    return inherited | changed | {"options": _merged(base.options, changed.get("options", {}))}


def _part(table: Table, keys: dict[str, Any]) -> dict[str, Any]:
    return table.part(keys) if isinstance(table, SourcedTable) else keys


def _merged(options: Any, more: Any) -> Any:
    """Merge two tables; return anything else unchanged, for the conversion to refuse."""
    tables = isinstance(options, Mapping) and isinstance(more, Mapping)
    return {**options, **more} if tables else more if isinstance(options, Mapping) else options
