"""Apply a changed config to a running kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import Config, KernelConfig, load_config
from gnomon.jobs.diff import JobsDiff
from gnomon.kernel import Kernel

Sections = Mapping[str, Mapping[str, Any]]


class Reloaded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a reload: the jobs whose definitions changed, and the settings that differ from those in use.

    `applied` are keys of plugins whose new values count now, `needs_restart` the keys and sections that a restart
    applies. `held` names the jobs that were added at run time and cannot run now.
    """

    added: list[str]
    changed: dict[str, dict[str, Any]]
    removed: list[str]
    needs_restart: list[str]
    applied: list[str] = []
    held: str | None = None


class Reloader:
    """Applies the config file of a running kernel, as often as it changes. `config` is the one of the start."""

    def __init__(self, kernel: Kernel, config: Config) -> None:
        self._kernel = kernel
        self._config = config
        self._in_use: dict[str, dict[str, Any]] = {name: {**keys} for name, keys in config.sections.items()}
        self._lock = asyncio.Lock()

    async def reload(self, actor: str | None) -> Reloaded:
        """Read and check the config again, replace the kernel's jobs in one step, and reload the plugins that can.

        A kernel that follows reloads its plugins alone: the jobs are those of the kernel that leads.
        If the config is not valid, raise ConfigError with every problem and change nothing. A plugin can be reloaded
        that has the hook `reload`. Plugins keep running with their jobs: a plugin that is new starts, with its jobs,
        when the kernel is restarted.
        """
        async with self._lock:
            return await self._reload(actor)

    async def _reload(self, actor: str | None) -> Reloaded:
        start = self._config
        fresh = load_config(start.file)
        deployment = assemble(fresh, self._kernel.plugins)
        diff = JobsDiff([], {}, [])
        if self._kernel.health().role != "follower":
            jobs = deployment.registered_jobs
            revision, reason = fresh.kernel.revision, "the config was reloaded"
            diff = await self._kernel.apply_jobs(jobs, revision=revision, actor=actor, reason=reason)
        configs = {plugin.name: plugin.config for plugin in deployment.plugins if plugin.config is not None}
        live_keys = await self._kernel.reload_plugins(configs)
        changed = [*_changed_keys(self._in_use, fresh.sections, live_keys)]
        self._note_applied(fresh.sections, live_keys)
        return Reloaded(
            added=diff.added,
            changed=diff.changed,
            removed=diff.removed,
            needs_restart=[
                *(["kernel"] if _without_revision(fresh.kernel) != _without_revision(start.kernel) else []),
                *(["groups"] if fresh.groups != start.groups else []),
                *(["plugins.paths"] if fresh.plugin_paths != start.plugin_paths else []),
                *(place for place, is_applied in changed if not is_applied),
            ],
            applied=[place for place, is_applied in changed if is_applied],
            held=self._kernel.health().problems.get("jobs"),
        )

    def _note_applied(self, sections: Sections, live_keys: Mapping[str, frozenset[str]]) -> None:
        """Note the values of keys that plugins have applied; the others stay in use as they were."""
        for name, keys in live_keys.items():
            if name in sections and name in self._in_use:
                kept = {key: value for key, value in self._in_use[name].items() if key not in keys}
                self._in_use[name] = kept | {key: value for key, value in sections[name].items() if key in keys}


def _without_revision(kernel: KernelConfig) -> KernelConfig:
    """Return the section without its revision, which a reload applies."""
    return msgspec.structs.replace(kernel, revision=None)


def _changed_keys(old: Sections, new: Sections, live_keys: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, bool]]:
    """Yield the places of what has changed, and whether it counts already; of a plugin that reloads, key by key."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if before is None or after is None or name not in live_keys:
            yield f"plugins.{name}", False
            continue
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield f"plugins.{name}.{key}", key in live_keys[name]
