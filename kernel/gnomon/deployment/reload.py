"""Apply a changed config to a running kernel."""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import Config, load_config
from gnomon.kernel import Kernel


class Reloaded(msgspec.Struct, frozen=True):
    """The result of a reload: the jobs whose definitions changed, and the sections that need a restart."""

    added: list[str]
    changed: dict[str, dict[str, Any]]
    removed: list[str]
    needs_restart: list[str]


async def reload_jobs(kernel: Kernel, running: Config, actor: str | None) -> Reloaded:
    """Read and check the config again, and replace the jobs of the kernel in one step; only jobs can be reloaded.

    If the config is not valid, raise ConfigError with every problem and change nothing.
    """
    fresh = load_config(running.directory / running.source.name if running.source else None)
    deployment = assemble(fresh)
    diff = await kernel.apply_jobs(deployment.registered_jobs, actor=actor, reason="the config was reloaded")
    return Reloaded(
        added=diff.added,
        changed=diff.changed,
        removed=diff.removed,
        needs_restart=[
            *(["kernel"] if fresh.kernel != running.kernel else []),
            *(f"plugins.{name}" for name in _changed_sections(running.sections, fresh.sections)),
        ],
    )


def _changed_sections(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[str]:
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
