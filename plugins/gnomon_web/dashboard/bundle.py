"""Bundles the modules of the page, so that the browser makes one request; the code itself is not rewritten.

Names and lines within a module stay as they are: imports are removed, and each module follows those that it imports.
A top-level name may therefore be declared in one module only, and modules may not import each other in a circle.

A module that is imported lazily, `import('./views/run.js')`, is the beginning of a chunk: a separate file, with the
modules that only it needs. Modules that several chunks need, but not the first bundle, are one more chunk. What a
chunk needs of the first bundle, or of the modules that several chunks need, it imports from there.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter

import msgspec

MAIN = "app.js"
"""The file of the first bundle."""
SHARED = "js/shared.js"
"""The file of the modules that several chunks need."""

_COMMENT = re.compile(r"/\*\*.*?\*/ ?|^[ ]*//[^\n]*", re.DOTALL | re.MULTILINE)
_INDENT = re.compile(r"`[^`]*`|^ +", re.MULTILINE)
_IMPORT = re.compile(r"^import (?:\* as (?P<all>\w+)|\{(?P<names>[^}]*)\}) from '(?P<path>[^']+)';", re.MULTILINE)
_LAZY_IMPORT = re.compile(r"(?<=\bimport\(')[^']+(?='\))")
_EXPORT = re.compile(r"^export (?:async )?(?:const|let|class|function) (\w+)", re.MULTILINE)


class Module(msgspec.Struct, frozen=True):
    """A module as written (`source`) and as bundled (`code`). Both have the same lines."""

    path: str
    source: str
    code: str


class Bundle(msgspec.Struct, frozen=True):
    """The modules of the first bundle, in order, and those of each chunk."""

    modules: list[Module]
    chunks: dict[str, list[Module]]

    def text(self) -> str:
        """Return the first bundle. It exports everything that its modules export."""
        return _joined(self.modules)

    def lazy(self) -> dict[str, str]:
        """Return the chunks."""
        return {path: _joined(modules) for path, modules in self.chunks.items()}

    def source_map(self) -> str:
        """Return an index source map (ECMA-426) with a section for each module of the first bundle."""
        sections, line = [], 0
        for module in self.modules:
            lines = module.code.count("\n")
            mappings = "AAAA" + ";AACA" * (lines - 1)  # line 0 maps to line 0, and every next line to the next one
            one = {"version": 3, "sources": [module.path], "sourcesContent": [module.source], "mappings": mappings}
            sections.append({"offset": {"line": line, "column": 0}, "map": one})
            line += lines
        return json.dumps({"version": 3, "sections": sections})


class _Import(msgspec.Struct, frozen=True):
    """What a module imports from another one: some names, or all of them under one name."""

    path: str
    names: tuple[str, ...]
    all_as: str | None


def bundle(sources: dict[str, str]) -> Bundle:
    """Bundle modules, given by their paths."""
    stripped = {path: _strip(text) for path, text in sources.items()}
    imports = {path: _imports(path, text) for path, text in stripped.items()}
    starts = sorted({_resolve(path, found) for path, text in stripped.items() for found in _LAZY_IMPORT.findall(text)})
    closures = {start: _closure(start, imports) for start in starts}
    first = set(stripped) - {path for found in closures.values() for path in found}
    first |= {path for root in first for path in _closure(root, imports)}
    namespaces = {one.path: one.all_as for found in imports.values() for one in found if one.all_as}

    def made(paths: Iterable[str], file: str) -> list[Module]:
        wanted = set(paths)
        graph = {path: [one.path for one in imports[path] if one.path in wanted] for path in sorted(wanted)}
        return [
            Module(path, sources[path], _code(path, stripped[path], file, namespaces))
            for path in TopologicalSorter(graph).static_order()
        ]

    owners = Counter(path for closure in closures.values() for path in closure - first)
    shared = {path for path, count in owners.items() if count > 1}
    if both := sorted(shared & set(starts)):
        raise ValueError(f"{both[0]} is imported lazily, and by another chunk as well: import it lazily everywhere")

    def chunk(own: set[str], file: str) -> list[Module]:
        needed: dict[str, set[str]] = {MAIN: set(), SHARED: set()}
        for one in (one for path in own for one in imports[path] if one.path not in own):
            needed[MAIN if one.path in first else SHARED] |= {one.all_as or name for name in one.names or [""]}
        return _with_imports(made(own, file), needed, file)

    chunks = {start: chunk(closure - first - shared, start) for start, closure in closures.items()}
    if shared:
        chunks[SHARED] = chunk(shared, SHARED)
    return Bundle(made(first, MAIN), chunks)


def _joined(modules: list[Module]) -> str:
    return "".join(module.code for module in modules)


def _imports(path: str, text: str) -> list[_Import]:
    return [
        _Import(_resolve(path, one["path"]), tuple((one["names"] or "").replace(",", " ").split()), one["all"])
        for one in _IMPORT.finditer(text)
    ]


def _closure(start: str, imports: Mapping[str, list[_Import]]) -> set[str]:
    """Return a module and all that it imports, directly or not; what is imported lazily does not count."""
    found, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [one.path for one in imports[path]]
    return found


def _code(path: str, text: str, file: str, namespaces: Mapping[str, str | None]) -> str:
    """Return the code of a module in a file."""
    code = _IMPORT.sub(lambda found: "\n" * found[0].count("\n"), text)
    code = _LAZY_IMPORT.sub(lambda found: _relative(_resolve(path, found[0]), file), code)
    if path in namespaces:
        exported = ", ".join(_EXPORT.findall(code))
        code = code.rstrip("\n") + f" export const {namespaces[path]} = {{ {exported} }};\n"
    return code


def _with_imports(modules: list[Module], needed: Mapping[str, set[str]], file: str) -> list[Module]:
    """Add the imports from other files to the first line of a chunk."""
    line = "".join(
        f"import {{ {', '.join(sorted(names))} }} from '{_relative(other, file)}';"
        for other, names in needed.items()
        if names
    )
    head, *rest = modules
    return [msgspec.structs.replace(head, code=line + head.code), *rest]


def _strip(text: str) -> str:
    """Remove types, comments and indents, a fifth of the size. Template literals keep their indents."""
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    return _INDENT.sub(lambda found: found[0] if found[0][0] == "`" else "", text)


def _resolve(path: str, relative: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))


def _relative(path: str, file: str) -> str:
    """Return the specifier by which a file imports another one."""
    found = posixpath.relpath(path, posixpath.dirname(file) or ".")
    return found if found.startswith(".") else f"./{found}"
