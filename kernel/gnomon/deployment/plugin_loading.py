"""Which plugins there are, which of them a config enables, and in what state they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from gnomon.deployment.config import Config
from gnomon.errors import ConfigError, PluginError
from gnomon.plugins.discovery import FoundPlugin, discover
from gnomon.plugins.hook_checks import marked_hooks
from gnomon.plugins.plugin_set import PluginSet
from gnomon.text import close_match

SLOW = 10.0
"""Seconds in which a plugin is expected to be imported and made: one that hangs cannot be ended, but named."""

log = structlog.stdlib.get_logger("gnomon.plugins")


class PluginInfo(msgspec.Struct, frozen=True):
    """What people see of a plugin, with its problem if it has one.

    It is enabled, or installed only; incomplete, where it is not enabled and something that it needs is not installed;
    or failed.
    """

    name: str
    state: Literal["enabled", "installed", "incomplete", "failed"]
    origin: str
    distribution: str | None = None
    version: str | None = None
    hooks: list[str] = []
    problem: str | None = None


def load_plugins(config: Config) -> tuple[PluginSet, list[str]]:
    """Make the plugins that a config enables; returns those that can be used, and the problems of the others."""
    plugins, problems = PluginSet(config.directory), []
    found = discover(config.plugin_paths)
    for candidate in found:
        if is_enabled(candidate, config):
            try:
                with _named_when_slow(candidate.name):
                    plugins.add(candidate.load(), candidate.name, config.sections.get(candidate.name), candidate)
            except ConfigError as exc:
                problems += exc.problems
            except PluginError as exc:
                problems.append(str(exc))
    known = sorted(candidate.name for candidate in found)
    for name in config.sections:
        if name not in known:
            hint = close_match(name, known) or f"; installed are {', '.join(known) or 'none'}"
            problems.append(f"plugins.{name}: there is no plugin {name!r}{hint}")
    return plugins, problems


@contextmanager
def _named_when_slow(plugin: str) -> Iterator[None]:
    said = {"plugin": plugin, "after_s": SLOW}
    timer = threading.Timer(SLOW, log.warning, ("plugin is still being imported or made",), said)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def is_enabled(found: FoundPlugin, config: Config) -> bool:
    """Whether a config enables a plugin: by a section of its name, or by listing its file."""
    return isinstance(found.source, Path) or found.name in config.sections


def plugin_that_would_own(job_key: str, config: Config) -> str | None:
    """Name the plugin that gives such a key to jobs and is not enabled, if one does; imports plugins to find it."""
    for found in discover(config.plugin_paths):
        if not is_enabled(found, config):
            with suppress(PluginError, TypeError):  # a stranger's, and no Struct perhaps
                options: type[msgspec.Struct] | None = getattr(found.load(), "JobOptions", None)
                if options and job_key in (field.encode_name for field in msgspec.structs.fields(options)):
                    return found.name
    return None


def survey(config: Config) -> list[PluginInfo]:
    """Tell of all plugins that there are, enabled or not, what state they are in; imports them all."""
    return [_info(found, config) for found in discover(config.plugin_paths)]


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
        lacks = not enabled and isinstance(exc.__cause__, ModuleNotFoundError)
        return msgspec.structs.replace(info, state="incomplete" if lacks else "failed", problem=str(exc))
    return msgspec.structs.replace(info, hooks=marked_hooks(target))
