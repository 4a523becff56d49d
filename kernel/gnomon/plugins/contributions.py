"""What plugin objects provide to the kernel of a program without a config file: the store, runners and jobs.

A deployment collects the same, together with its config, which may change jobs of plugins (`gnomon.deployment`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from gnomon.errors import PluginError
from gnomon.jobs.definition import convert_job
from gnomon.jobs.job import Job
from gnomon.jobs.runner_names import BUILT_IN
from gnomon.plugins.plugin_set import Plugin
from gnomon.ports import Store
from gnomon.runners.base import Runner
from gnomon.safe_text import safe_repr

RUNNER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_JOB_KEYS = frozenset(field.encode_name for field in msgspec.structs.fields(Job))


def contributed_store(plugins: Iterable[Plugin]) -> Store | None:
    """Return the store that one of the plugins provides, or None; PluginError where two provide one."""
    found = [(plugin.name, store) for plugin in plugins for store in plugin.stores()]
    if len(found) > 1:
        (first, _), (second, _) = found[:2]
        raise PluginError(
            second, f"provides a store, and so does {first!r}: keep one of them, or pass `store=` to the kernel"
        )
    return found[0][1] if found else None


def contributed_runners(plugins: Iterable[Plugin]) -> dict[str, Runner]:
    """Return the runners of the plugins by their names; PluginError for a name that is not valid or is taken."""
    runners: dict[str, Runner] = {}
    for plugin in plugins:
        for runner in plugin.runners():
            name = getattr(runner, "name", None)
            if not isinstance(name, str) or not RUNNER_NAME.fullmatch(name):
                raise PluginError(
                    plugin.name,
                    f"registers a runner with the name {safe_repr(name)}, expected 1 to 64 of a-z 0-9 _ - that begin "
                    "with a letter: set `name` in its class",
                )
            if name in BUILT_IN or name in runners:
                raise PluginError(plugin.name, f"registers the runner {name!r}, which is already there: rename it")
            runners[name] = runner
    return runners


def contributed_jobs(plugins: Iterable[Plugin]) -> list[Job]:
    """Return the jobs that plugins register; JobError for one that is not valid."""
    known = list(plugins)
    owned = {
        field.encode_name
        for plugin in known
        for field in (msgspec.structs.fields(plugin.job_options) if plugin.job_options else ())
        if field.encode_name not in _JOB_KEYS
    }
    return [_job(plugin, item, owned) for plugin in known for item in plugin.jobs()]


def _job(plugin: Plugin, item: Job | dict[str, Any], owned: set[str]) -> Job:
    if isinstance(item, Job):
        return item
    keys = {key: value for key, value in item.items() if key not in owned}
    if options := {key: value for key, value in item.items() if key in owned}:
        keys["options"] = {**keys.get("options", {}), **options}
    return convert_job(keys, f"plugin {plugin.name!r} job {item.get('id')!r}")
