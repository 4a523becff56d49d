"""Finds plugins without importing them: entry points of the group `gnomon.plugins`, and files that the config lists."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from gnomon.errors import PluginError
from gnomon.plugins.calls import PluginCallError, call_within
from gnomon.safe_text import safe_str

GROUP = "gnomon.plugins"
IMPORT_LIMIT_S = 60.0
"""For importing a plugin, which may import a lot."""


class FoundPlugin(msgspec.Struct, frozen=True):
    """An entry point or a file that offers a plugin. `problem` is why it cannot be used, as far as known.

    `source` is an entry point, or the path of a file. A file is listed in the config and thereby enabled.
    """

    name: str
    source: EntryPoint | Path
    distribution: str | None = None
    version: str | None = None
    problem: str | None = None

    @property
    def origin(self) -> str:
        """The distribution with its version, or the file, that offers it."""
        return str(self.source) if isinstance(self.source, Path) else f"{self.distribution} {self.version}"

    def load(self) -> Any:
        """Import it; return a class to instantiate, or the module that is the plugin. Raise PluginError if it fails."""
        if self.problem is not None:
            raise PluginError(self.name, self.problem)
        try:
            found = call_within(IMPORT_LIMIT_S, f"import of plugin {self.name}", self._import)
        except PluginCallError as exc:
            cause = exc.__cause__
            is_missing = isinstance(cause, ModuleNotFoundError)
            problem = f"{safe_str(cause)}{self._remedy()}" if is_missing else exc
            raise PluginError(self.name, f"cannot be imported: {problem}") from cause
        return getattr(found, "Plugin", found) if isinstance(found, ModuleType) else found

    def _import(self) -> Any:
        return _import_file(self.source) if isinstance(self.source, Path) else self.source.load()

    def _remedy(self) -> str:
        dist = None if isinstance(self.source, Path) else self.source.dist
        extras = (dist.metadata.get_all("Provides-Extra") or []) if dist else []
        if self.name in extras:
            return f"; install its dependencies: pip install '{self.distribution}[{self.name}]'"
        return "; is a distribution that it needs missing?"


def discover(paths: Sequence[Path] = ()) -> list[FoundPlugin]:
    """Return the available plugins: Gnomon's own first, then the others by name, then files in the given order.

    Two with the same name are one entry with a problem: none may silently replace another.
    """
    offers: dict[str, list[FoundPlugin]] = {}
    for found in [*sorted(map(_from_entry_point, entry_points(group=GROUP)), key=_rank), *map(_from_file, paths)]:
        offers.setdefault(found.name, []).append(found)
    return [_only(found) for found in offers.values()]


def offered_name(plugin: Any) -> str | None:
    """Return the name under which an entry point offers a class or a module, None if none does; imports nothing."""
    for point in entry_points(group=GROUP):
        found: Any = sys.modules.get(point.module)
        for part in point.attr.split(".") if point.attr else ():
            found = getattr(found, part, None)
        if found is not None and found is plugin:
            return point.name
    return None


def _only(found: list[FoundPlugin]) -> FoundPlugin:
    if len(found) == 1:
        return found[0]
    origins = " and by ".join(offer.origin for offer in found)
    # The last one: files come last, and a file is enabled by being listed.
    return msgspec.structs.replace(found[-1], problem=f"is offered by {origins}: uninstall or rename one")


def _rank(found: FoundPlugin) -> tuple[bool, str, str]:
    return found.distribution != "gnomon", found.name, found.distribution or ""


def _from_entry_point(point: EntryPoint) -> FoundPlugin:
    dist = point.dist
    return FoundPlugin(point.name, point, dist.name if dist else None, dist.version if dist else None)


def _from_file(path: Path) -> FoundPlugin:
    problem = None
    if path.suffix != ".py":
        problem = f"cannot be loaded from {path}: expected a .py file"
    elif not path.is_file():
        problem = f"cannot be loaded: the file {path} does not exist"
    return FoundPlugin(path.stem.removeprefix("gnomon_"), path, problem=problem)


def _import_file(path: Path) -> ModuleType:
    """Import a file under its stem, so that the process runner can import its jobs by name.

    A file that was imported is not imported again: a kernel may be running with the module, and a reload must not
    replace it below the functions that jobs name.
    """
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None and not hasattr(known, "__gnomon_plugin__"):
        raise ImportError(f"{path} has the name of an imported module: rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__gnomon_plugin__"] = True
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module
