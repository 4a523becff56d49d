"""Joins the modules of the page into one, so that a browser asks once; what is written stays as it is written.

No name is changed and no line is moved within its module: imports go, and each module comes after those that it
imports. So a name may be declared at the top of one module only, and modules may not import each other in a circle.
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
_LATER = re.compile(r"(?<=\bimport\(')[^']+(?='\))")
_EXPORT = re.compile(r"^export (?:async )?(?:const|let|class|function) (\w+)", re.MULTILINE)


class Module(msgspec.Struct, frozen=True):
    """A module: as it was written, and as it stands in the whole. Its lines have the same numbers in both."""

    path: str
    source: str
    code: str


class Joined(msgspec.Struct, frozen=True):
    """The modules in their order, and beside them those that are loaded when they are needed."""

    modules: list[Module]
    later: dict[str, str]

    def text(self) -> str:
        """Write the one module. It exports what any of them does."""
        return "".join(module.code for module in self.modules)

    def source_map(self) -> str:
        """Tell developer tools where each line was written (ECMA-426, an index map): a section for each module."""
        sections, line = [], 0
        for module in self.modules:
            lines = module.code.count("\n")
            mappings = "AAAA" + ";AACA" * (lines - 1)  # the first line is the first, and each next one is the next
            one = {"version": 3, "sources": [module.path], "sourcesContent": [module.source], "mappings": mappings}
            sections.append({"offset": {"line": line, "column": 0}, "map": one})
            line += lines
        return json.dumps({"version": 3, "sections": sections})


def join(sources: dict[str, str]) -> Joined:
    """Join modules, given by their paths."""
    bare = {path: _bare(text) for path, text in sources.items()}
    later = {_beside(path, found) for path, text in bare.items() for found in _LATER.findall(text)}
    imports = {path: list(_IMPORT.finditer(text)) for path, text in bare.items() if path not in later}
    graph = {path: [_beside(path, one["path"]) for one in found] for path, found in imports.items()}
    wholes = {_beside(path, one["path"]): one["all"] for path, found in imports.items() for one in found if one["all"]}
    modules = []
    for path in TopologicalSorter(graph).static_order():
        code = _IMPORT.sub(lambda found: "\n" * found[0].count("\n"), bare[path])
        code = _LATER.sub(lambda found: f"./{_beside(path, found[0])}", code)  # noqa: B023  # called at once
        if path in wholes:
            code = code.rstrip("\n") + f" const {wholes[path]} = {{ {', '.join(_EXPORT.findall(code))} }};\n"
        modules.append(Module(path, sources[path], code))
    return Joined(modules, {path: bare[path] for path in sorted(later)})


def _bare(text: str) -> str:
    """Leave out types, explanations and indents, which are for those who read the source: a fifth of all.

    A text in backticks keeps its indents: they are a part of it.
    """
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    return _INDENT.sub(lambda found: found[0] if found[0][0] == "`" else "", text)


def _beside(path: str, relative: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))
