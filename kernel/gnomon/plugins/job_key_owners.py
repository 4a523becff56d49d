"""The keys that plugins add to jobs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gnomon.jobs.job_keys import JOB_KEYS
from gnomon.plugins.plugin_set import Plugin


def job_key_owners(plugins: Iterable[Plugin], problems: list[str]) -> dict[str, type[msgspec.Struct]]:
    """Return, for each job key that a plugin defines, the Struct of its plugin."""
    owners: dict[str, type[msgspec.Struct]] = {}
    for plugin in plugins:
        for field in msgspec.structs.fields(plugin.job_options) if plugin.job_options else ():
            key = field.encode_name
            if key in JOB_KEYS or key in owners:
                problems.append(
                    f"plugin {plugin.name!r} defines the job key {key!r}, which is already taken: rename it"
                )
            elif plugin.job_options:
                owners[key] = plugin.job_options
    return owners
