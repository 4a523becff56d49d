"""A config becomes a deployment: plugins made, the store chosen, every job checked; or every problem told at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gnomon.deployment.config import Config, load_config
from gnomon.deployment.job_collection import collect_jobs
from gnomon.deployment.plugin_loading import load_plugins
from gnomon.errors import ConfigError, PluginError
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob
from gnomon.plugins.plugin_set import PluginSet
from gnomon.ports import Store

if TYPE_CHECKING:
    from gnomon.kernel import Kernel


class Deployment(msgspec.Struct, frozen=True):
    """What a kernel is built from. Nothing of it is opened or started."""

    config: Config
    plugins: PluginSet
    store: Store
    registered_jobs: list[RegisteredJob]

    @property
    def jobs(self) -> list[Job]:
        """The definitions of the jobs."""
        return [registered.job for registered in self.registered_jobs]


def assemble(config: Config) -> Deployment:
    """Make the deployment that a config describes: ConfigError has every problem of its plugins, store and jobs.

    Enabled plugins and the functions of jobs are imported. The folders of `python_path` go to the front of sys.path and
    stay there, for a job may import more when it runs.
    """
    problems = _extend_python_path(config)
    plugins, plugin_problems = load_plugins(config)
    problems += plugin_problems
    store = _only_store(plugins, problems)
    jobs = collect_jobs(config, plugins, problems)
    if problems or store is None:
        raise ConfigError(problems)
    return Deployment(config, plugins, store, jobs)


def _extend_python_path(config: Config) -> list[str]:
    folders = [config.directory / Path(folder).expanduser() for folder in config.kernel.python_path]
    for folder in reversed(folders):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return [f"kernel.python_path: there is no folder {folder}" for folder in folders if not folder.is_dir()]


def _only_store(plugins: PluginSet, problems: list[str]) -> Store | None:
    stores: list[tuple[str, Store]] = []
    for plugin in plugins:
        try:
            stores += [(plugin.name, store) for store in plugin.stores()]
        except PluginError as exc:
            problems.append(str(exc))
    if len(stores) == 1:
        return stores[0][1]
    if stores:
        names = " and ".join(repr(name) for name, _ in stores)
        problems.append(f"plugins: {names} both provide a store, but there is one log: keep one of them")
    elif not problems:  # else it is probably the store's plugin that has them
        problems.append("plugins: none that is enabled provides a store; add a section such as [plugins.sqlite]")
    return None


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload did: the jobs whose definitions are other ones now, and the sections that need a restart."""

    added: list[str]
    changed: dict[str, dict[str, Any]]
    removed: list[str]
    needs_restart: list[str]


async def reload_jobs(kernel: Kernel, running: Config, actor: str | None) -> Reloaded:
    """Read the config again, check it whole, and put its jobs in place of those of the running kernel, in one go.

    ConfigError has every problem, and then nothing has changed. Only jobs can be changed in a running kernel.
    """
    fresh = load_config(running.directory / running.source.name if running.source else None)
    deployment = assemble(fresh)
    found = await kernel.apply_jobs(deployment.registered_jobs, actor=actor, reason="the config was reloaded")
    return Reloaded(
        added=found.added,
        changed=found.changed,
        removed=found.removed,
        needs_restart=[
            *(["kernel"] if fresh.kernel != running.kernel else []),
            *(f"plugins.{name}" for name in _changed_sections(running.sections, fresh.sections)),
        ],
    )


def _changed_sections(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[str]:
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
