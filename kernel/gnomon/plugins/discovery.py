"""Find plugins without importing them: entry points of the group `gnomon.plugins`, and files that the config lists."""

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

GROUP = "gnomon.plugins"


class FoundPlugin(msgspec.Struct, frozen=True):
    """Something that says it is a plugin. `problem` says why it cannot be used, as far as that is known by now.

    `source` is an entry point, or the path of a file; a file is listed in the config and thereby enabled.
    """

    name: str
    source: EntryPoint | Path
    distribution: str | None = None
    version: str | None = None
    problem: str | None = None

    @property
    def origin(self) -> str:
        """Who offers it: a distribution with its version, or a file."""
        return str(self.source) if isinstance(self.source, Path) else f"{self.distribution} {self.version}"

    def load(self) -> Any:
        """Import it; returns a class to be made, or a module that is used as it is. PluginError tells what to do."""
        if self.problem is not None:
            raise PluginError(self.name, self.problem)
        try:
            found = _import_file(self.source) if isinstance(self.source, Path) else self.source.load()
        except ModuleNotFoundError as exc:
            raise PluginError(self.name, f"cannot be imported: {exc}{self._remedy()}") from exc
        except (Exception, SystemExit) as exc:  # a stranger's module may raise anything while it is imported
            raise PluginError(self.name, f"cannot be imported: {type(exc).__name__}: {exc}") from exc
        return getattr(found, "Plugin", found) if isinstance(found, ModuleType) else found

    def _remedy(self) -> str:
        dist = None if isinstance(self.source, Path) else self.source.dist
        extras = (dist.metadata.get_all("Provides-Extra") or []) if dist else []
        if self.name in extras:
            return f"; install what it needs: pip install '{self.distribution}[{self.name}]'"
        return "; is the distribution that it needs installed?"


def discover(paths: Sequence[Path] = ()) -> list[FoundPlugin]:
    """List the plugins that there are: those of gnomon first, then the others by name, then files in the order given.

    Two of one name are one entry, with a problem: nobody may silently take another's place.
    """
    offers: dict[str, list[FoundPlugin]] = {}
    for found in [*sorted(map(_from_entry_point, entry_points(group=GROUP)), key=_rank), *map(_from_file, paths)]:
        offers.setdefault(found.name, []).append(found)
    return [_only(found) for found in offers.values()]


def _only(found: list[FoundPlugin]) -> FoundPlugin:
    if len(found) == 1:
        return found[0]
    origins = " and by ".join(offer.origin for offer in found)
    # The last one: a file comes last, and is what makes the plugin an enabled one.
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
        problem = f"cannot be loaded: there is no file {path}"
    return FoundPlugin(path.stem.removeprefix("gnomon_"), path, problem=problem)


def _import_file(path: Path) -> ModuleType:
    """Import a file under its stem, so that a job in it has a name by which a process runner finds it."""
    known = sys.modules.get(path.stem)
    is_ours = hasattr(known, "__gnomon_plugin__")
    if known is not None and not is_ours:
        if getattr(known, "__file__", None) == str(path):
            return known
        raise ImportError(f"{path} has the name of a module that is imported already: rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__gnomon_plugin__"] = True
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module
