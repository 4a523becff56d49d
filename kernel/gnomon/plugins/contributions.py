"""What plugin objects provide to the kernel of a program without a config file: the store, and jobs.

A deployment collects the same, together with its config, which may change jobs of plugins (`gnomon.deployment`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from gnomon.errors import PluginError
from gnomon.jobs.definition import convert_job
from gnomon.jobs.job import Job
from gnomon.plugins.plugin_set import Plugin
from gnomon.ports import Store

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
