"""Load the plugins that a config enables, and list all plugins with their state."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from gnomon.deployment.config import Config
from gnomon.deployment.file_checks import check_writers
from gnomon.errors import ConfigError, PluginError
from gnomon.logs import get_logger
from gnomon.plugins.discovery import FoundPlugin, discover
from gnomon.plugins.hook_checks import marked_hooks
from gnomon.plugins.plugin_set import Plugin, PluginSet
from gnomon.text import close_match

SLOW_AFTER_S = 10.0
"""Time after which a plugin that is still being loaded is named in the log; a hanging import cannot be ended."""

log = get_logger("gnomon.plugins")


class PluginInfo(msgspec.Struct, frozen=True):
    """A plugin in a list, with its problem if it has one.

    `incomplete` is a plugin that is not enabled and needs something that is not installed.
    """

    name: str
    state: Literal["enabled", "installed", "incomplete", "failed"]
    origin: str
    distribution: str | None = None
    version: str | None = None
    hooks: list[str] = []
    problem: str | None = None


def load_plugins(config: Config) -> tuple[PluginSet, list[str]]:
    """Load the plugins that a config enables; return those that work and the problems of the others."""
    plugins = PluginSet(config.directory)
    problems: list[str] = []
    found = discover(config.plugin_paths)
    for candidate in found:
        if is_enabled(candidate, config):
            _load_into(plugins, candidate, config, problems)
    problems += _unknown_sections(found, config)
    return plugins, problems


def load_enabled(config: Config, problems: list[str]) -> Iterator[Plugin]:
    """Load the enabled plugins one after another, in the order of their sections, then those from files."""
    plugins = PluginSet(config.directory)
    found = discover(config.plugin_paths)
    sections = list(config.sections)
    enabled = [candidate for candidate in found if is_enabled(candidate, config)]
    for candidate in sorted(enabled, key=lambda c: sections.index(c.name) if c.name in sections else len(sections)):
        if (plugin := _load_into(plugins, candidate, config, problems)) is not None:
            yield plugin
    problems += _unknown_sections(found, config)


def is_enabled(found: FoundPlugin, config: Config) -> bool:
    """Return whether a config enables a plugin, by a section with its name or by listing its file."""
    return isinstance(found.source, Path) or found.name in config.sections


def plugin_with_job_key(job_key: str, config: Config, loaded: Collection[str]) -> FoundPlugin | None:
    """Return the plugin that is not loaded and defines this key for jobs, or None; plugins are imported for it."""
    for found in discover(config.plugin_paths):
        if found.name not in loaded:
            with suppress(PluginError, TypeError):  # a foreign plugin may fail, or its JobOptions may not be a Struct
                options: type[msgspec.Struct] | None = getattr(found.load(), "JobOptions", None)
                if options and job_key in (field.encode_name for field in msgspec.structs.fields(options)):
                    return found
    return None


def list_plugins(config: Config) -> list[PluginInfo]:
    """Return all plugins, enabled or not, with their state; imports every one."""
    check_writers(config)
    return [_info(found, config) for found in discover(config.plugin_paths)]


def _load_into(plugins: PluginSet, found: FoundPlugin, config: Config, problems: list[str]) -> Plugin | None:
    try:
        with _named_when_slow(found.name):
            return plugins.add(found.load(), found.name, config.sections.get(found.name), found)
    except ConfigError as exc:
        problems += exc.problems
    except PluginError as exc:
        problems.append(str(exc))
    return None


def _unknown_sections(found: list[FoundPlugin], config: Config) -> list[str]:
    known = sorted(candidate.name for candidate in found)
    return [
        f"plugins.{name}: there is no plugin {name!r}"
        + (close_match(name, known) or f"; installed plugins: {', '.join(known) or 'none'}")
        for name in config.sections
        if name not in known
    ]


@contextmanager
def _named_when_slow(plugin: str) -> Iterator[None]:
    facts = {"plugin": plugin, "after_s": SLOW_AFTER_S}
    timer = threading.Timer(SLOW_AFTER_S, log.warning, ("plugin is still loading",), facts)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _info(found: FoundPlugin, config: Config) -> PluginInfo:
    enabled = is_enabled(found, config)
    info = PluginInfo(
        found.name, "enabled" if enabled else "installed", found.origin, found.distribution, found.version
    )
    try:
        target = found.load()
        if enabled:
            PluginSet(config.directory).add(target, found.name, config.sections.get(found.name), found)
    except (ConfigError, PluginError) as exc:
        is_incomplete = not enabled and isinstance(exc.__cause__, ModuleNotFoundError)
        return msgspec.structs.replace(info, state="incomplete" if is_incomplete else "failed", problem=str(exc))
    return msgspec.structs.replace(info, hooks=marked_hooks(target))
