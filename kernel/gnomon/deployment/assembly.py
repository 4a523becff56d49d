"""Turn a config into a deployment: load its plugins, find the store, and check every job."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import msgspec

from gnomon.deployment.config import Config
from gnomon.deployment.file_checks import check_imported, check_writers, python_folders
from gnomon.deployment.job_collection import collect_jobs
from gnomon.deployment.plugin_loading import load_enabled, load_plugins
from gnomon.domain.job_state import JobState
from gnomon.engine.logged_jobs import LoggedJobs
from gnomon.errors import ConfigError, PluginError, UnknownJobError
from gnomon.jobs.durable import restore_jobs
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob
from gnomon.plugins.contributions import contributed_runners
from gnomon.plugins.plugin_set import Plugin, PluginSet
from gnomon.ports import Store
from gnomon.text import close_match

NO_STORE = "plugins: no enabled plugin provides a store; add a section such as [plugins.sqlite]"


class Deployment(msgspec.Struct, frozen=True):
    """Everything that a kernel is built from. Nothing in it is open or running.

    `warnings` are findings that prevent nothing, one line each, with its place.
    """

    config: Config
    plugins: PluginSet
    store: Store
    registered_jobs: list[RegisteredJob]
    warnings: list[str] = []

    @property
    def jobs(self) -> list[Job]:
        """The definitions of the jobs."""
        return [registered.job for registered in self.registered_jobs]

    def served_jobs(self, states: Iterable[JobState]) -> list[RegisteredJob]:
        """Return the jobs that a kernel has: those of the deployment, and those that the log brings back.

        One that only follows has the jobs of the log, whatever its config defines. JobExistsError where a job that was
        added at run time has the id of one of the deployment.
        """
        if self.config.kernel.role == "follower":
            logged = LoggedJobs(self.registered_jobs).of(states)
            return [msgspec.structs.replace(registered, problem=state.problem) for state, registered in logged]
        return [
            *self.registered_jobs,
            *restore_jobs(states, self.registered_jobs, self.config.groups, contributed_runners(self.plugins)),
        ]

    @staticmethod
    def store_only(config: Config) -> Store:
        """Return the store of a config, for commands that only read the log.

        Plugins are loaded in the order of their sections until one provides a store, so neither the other plugins nor
        the jobs are imported, and the log stays readable when they are broken. A second store is a problem that
        `assemble` reports.
        """
        check_writers(config)
        _extend_python_path(config)
        problems: list[str] = []
        for plugin in load_enabled(config, problems):
            if stores := _stores_of(plugin, problems):
                return stores[0]
        raise ConfigError(problems or [NO_STORE])

    def job(self, job_id: str, states: Iterable[JobState] = ()) -> Job:
        """Return the job with that id, also of the log's states; UnknownJobError names a similar id."""
        jobs = {registered.job.id: registered.job for registered in self.served_jobs(states)}
        if job_id not in jobs:
            known = f"; the jobs are {', '.join(sorted(jobs))}" if jobs else "; the deployment has no jobs"
            raise UnknownJobError(job_id, close_match(job_id, jobs) or known)
        return jobs[job_id]


def assemble(config: Config, running: PluginSet | None = None) -> Deployment:
    """Return the deployment of a config, or raise ConfigError with every problem of its plugins, store and jobs.

    With `running`, the plugins of a kernel, the jobs of plugins are those of the running plugins (see `collect_jobs`).

    The enabled plugins and the functions of jobs are imported. The folders of `python_path` are added to the front of
    sys.path and stay there, because a job may import more when it runs.
    """
    warnings = check_writers(config)
    problems = _extend_python_path(config)
    plugins, plugin_problems = load_plugins(config)
    problems += plugin_problems
    store = _only_store(plugins, problems)
    jobs = collect_jobs(config, plugins, problems, warnings, running)
    check_imported(config, problems, warnings)
    if problems or store is None:
        raise ConfigError(problems)
    return Deployment(config, plugins, store, jobs, warnings)


def _extend_python_path(config: Config) -> list[str]:
    folders = python_folders(config)
    for folder in reversed(folders):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return [f"kernel.python_path: the folder {folder} does not exist" for folder in folders if not folder.is_dir()]


def _only_store(plugins: PluginSet, problems: list[str]) -> Store | None:
    stores = [(plugin.name, store) for plugin in plugins for store in _stores_of(plugin, problems)]
    if len(stores) == 1:
        return stores[0][1]
    if stores:
        names = " and ".join(repr(name) for name, _ in stores)
        problems.append(f"plugins: {names} each provide a store, but a deployment has one log: enable one")
    elif not problems:  # otherwise the plugin with the store is probably the one with the problem
        problems.append(NO_STORE)
    return None


def _stores_of(plugin: Plugin, problems: list[str]) -> list[Store]:
    try:
        return plugin.stores()
    except PluginError as exc:
        problems.append(str(exc))
        return []
