"""Apply a changed config to a running kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import Config, load_config
from gnomon.kernel import Kernel

Sections = Mapping[str, Mapping[str, Any]]


class Reloaded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a reload: the jobs whose definitions changed, and the settings that have changed since the start.

    `applied` are keys of plugins that count already, `needs_restart` the keys and sections that a restart applies.
    """

    added: list[str]
    changed: dict[str, dict[str, Any]]
    removed: list[str]
    needs_restart: list[str]
    applied: list[str] = []


async def reload_jobs(kernel: Kernel, running: Config, actor: str | None) -> Reloaded:
    """Read and check the config again, replace the jobs of the kernel in one step, and reload the plugins that can.

    If the config is not valid, raise ConfigError with every problem and change nothing. A plugin can be reloaded that
    has the hook `reload`.
    """
    fresh = load_config(running.directory / running.source.name if running.source else None)
    deployment = assemble(fresh)
    diff = await kernel.apply_jobs(deployment.registered_jobs, actor=actor, reason="the config was reloaded")
    configs = {plugin.name: plugin.config for plugin in deployment.plugins if plugin.config is not None}
    live_keys = await kernel.reload_plugins(configs)
    changed = [*_changed_keys(running.sections, fresh.sections, live_keys)]
    return Reloaded(
        added=diff.added,
        changed=diff.changed,
        removed=diff.removed,
        needs_restart=[
            *(["kernel"] if fresh.kernel != running.kernel else []),
            *(place for place, is_applied in changed if not is_applied),
        ],
        applied=[place for place, is_applied in changed if is_applied],
    )


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
