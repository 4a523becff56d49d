"""Bundles the modules of the page into one, so that the browser makes one request; the code itself is not rewritten.

Names and lines within a module stay as they are: imports are removed, and each module follows those that it imports.
A top-level name may therefore be declared in one module only, and modules may not import each other in a circle.
"""

from __future__ import annotations

import json
import posixpath
import re
from graphlib import TopologicalSorter

import msgspec

_COMMENT = re.compile(r"/\*\*.*?\*/ ?|^[ ]*//[^\n]*", re.DOTALL | re.MULTILINE)
_INDENT = re.compile(r"`[^`]*`|^ +", re.MULTILINE)
_IMPORT = re.compile(r"^import (?:\* as (?P<all>\w+)|\{[^}]*\}) from '(?P<path>[^']+)';", re.MULTILINE)
_LAZY_IMPORT = re.compile(r"(?<=\bimport\(')[^']+(?='\))")
_EXPORT = re.compile(r"^export (?:async )?(?:const|let|class|function) (\w+)", re.MULTILINE)


class Module(msgspec.Struct, frozen=True):
    """A module as written (`source`) and as bundled (`code`). Both have the same lines."""

    path: str
    source: str
    code: str


class Bundle(msgspec.Struct, frozen=True):
    """The bundled modules in order, and those that the page imports lazily."""

    modules: list[Module]
    lazy: dict[str, str]

    def text(self) -> str:
        """Return the bundle. It exports everything that its modules export."""
        return "".join(module.code for module in self.modules)

    def source_map(self) -> str:
        """Return an index source map (ECMA-426) with a section for each module."""
        sections, line = [], 0
        for module in self.modules:
            lines = module.code.count("\n")
            mappings = "AAAA" + ";AACA" * (lines - 1)  # line 0 maps to line 0, and every next line to the next one
            one = {"version": 3, "sources": [module.path], "sourcesContent": [module.source], "mappings": mappings}
            sections.append({"offset": {"line": line, "column": 0}, "map": one})
            line += lines
        return json.dumps({"version": 3, "sections": sections})


def bundle(sources: dict[str, str]) -> Bundle:
    """Bundle modules, given by their paths."""
    stripped = {path: _strip(text) for path, text in sources.items()}
    lazy = {_resolve(path, found) for path, text in stripped.items() for found in _LAZY_IMPORT.findall(text)}
    imports = {path: list(_IMPORT.finditer(text)) for path, text in stripped.items() if path not in lazy}
    graph = {path: [_resolve(path, one["path"]) for one in found] for path, found in imports.items()}
    namespaces = {
        _resolve(path, one["path"]): one["all"] for path, found in imports.items() for one in found if one["all"]
    }
    modules = []
    for path in TopologicalSorter(graph).static_order():
        code = _IMPORT.sub(lambda found: "\n" * found[0].count("\n"), stripped[path])
        code = _LAZY_IMPORT.sub(lambda found: f"./{_resolve(path, found[0])}", code)  # noqa: B023  # called at once
        if path in namespaces:
            code = code.rstrip("\n") + f" const {namespaces[path]} = {{ {', '.join(_EXPORT.findall(code))} }};\n"
        modules.append(Module(path, sources[path], code))
    return Bundle(modules, {path: stripped[path] for path in sorted(lazy)})


def _strip(text: str) -> str:
    """Remove types, comments and indents, a fifth of the size. Template literals keep their indents."""
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    return _INDENT.sub(lambda found: found[0] if found[0][0] == "`" else "", text)


def _resolve(path: str, relative: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))
