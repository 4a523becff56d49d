"""The architecture as the files show it: no circles, small modules, no private names across modules, a true picture.

import-linter holds the layers (`tox -e imports`). What it does not see is tested here: it has no contract against
circles inside a package, and none against private names.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = [ROOT / "kernel", ROOT / "plugins"]
LONGEST_MODULE = 400
PICTURE = ROOT / "docs/explanation/architecture.md"


def read_modules() -> dict[str, ast.Module]:
    """Return the syntax tree of each module by its dotted name; a package has the name of its folder."""
    found = {}
    for source_root in SOURCE_ROOTS:
        for path in sorted(source_root.rglob("*.py")):
            parts = path.relative_to(source_root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = read_modules()


def imports_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every import statement: in functions and under TYPE_CHECKING, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def imported_modules(tree: ast.Module) -> set[str]:
    """Return the modules of ours that a module imports."""
    named = {f"{module}.{name}" if f"{module}.{name}" in MODULES else module for module, name in imports_of(tree)}
    return named & MODULES.keys()


def find_circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for imported in graph[module]:
            if imported not in index:
                visit(imported)
                low[module] = min(low[module], low[imported])
            elif imported in stack:
                low[module] = min(low[module], index[imported])
        if low[module] == index[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(circle) > 1:
                circles.append(sorted(circle))

    for module in graph:
        if module not in index:
            visit(module)
    return circles


def test_circles_are_found() -> None:
    assert find_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_no_modules_import_each_other_in_a_circle() -> None:
    circles = find_circles({name: imported_modules(tree) - {name} for name, tree in MODULES.items()})

    assert not circles


def test_the_kernel_does_not_import_its_own_front_door() -> None:
    importers = [
        name for name, tree in MODULES.items() if name.startswith("gnomon.") and "gnomon" in imported_modules(tree)
    ]

    assert not importers, "import from the module that defines the name: `gnomon` is for other packages"


def test_no_module_imports_a_private_name_of_another() -> None:
    private = [
        f"{importer}: from {module} import {name}"
        for importer, tree in MODULES.items()
        for module, name in imports_of(tree)
        if module.partition(".")[0] in {known.partition(".")[0] for known in MODULES}
        and any(part.startswith("_") and not part.startswith("__") for part in (*module.split("."), name))
    ]

    assert not private


@pytest.mark.parametrize("suffix", ["py", "js", "css"])
def test_no_module_has_more_lines_than_a_reader_holds_in_mind(suffix: str) -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for source_root in SOURCE_ROOTS
        for path in source_root.rglob(f"*.{suffix}")
    }

    assert lengths
    assert not {name: length for name, length in lengths.items() if length > LONGEST_MODULE}


def drawn_tree(package: str) -> dict[str, set[str]]:
    """Read a listing in the picture: each folder of a package with its modules, "" for the modules at the top."""
    block = re.search(rf"```text\n{package}/\n(.*?)```", PICTURE.read_text(encoding="utf-8"), re.DOTALL)
    assert block, f"{PICTURE.name} has no listing that begins with {package}/"
    tree: dict[str, set[str]] = {"": set()}
    folder = ""
    for line in block[1].splitlines():
        if match := re.match(r"  (\w+)/ ", line):
            folder = match[1]
            tree[folder] = set()
        elif match := re.match(r"  (\w+) ", line):
            tree[""].add(match[1])
        else:
            tree[folder].update(line.split())
    return tree


def listed_tree(package: str) -> dict[str, set[str]]:
    """Read the same from the folders."""
    tree: dict[str, set[str]] = {}
    for name in MODULES:
        parts = name.split(".")
        if parts[0] != package or len(parts) == 1 or parts[-1] == "__main__":
            continue
        is_folder = any(other.startswith(name + ".") for other in MODULES)
        if len(parts) == 2 and not is_folder:
            tree.setdefault("", set()).add(parts[1])
        elif len(parts) == 2:
            tree.setdefault(parts[1], set())
        else:
            tree.setdefault(parts[1], set()).add(parts[2])
    return tree


@pytest.mark.parametrize("package", ["gnomon", "gnomon_sqlite", "gnomon_mongo", "gnomon_postgres", "gnomon_shared_log"])
def test_the_picture_of_the_architecture_shows_the_folders_and_modules_that_are_there(package: str) -> None:
    assert drawn_tree(package) == listed_tree(package)


def test_every_module_is_either_public_or_refused_to_plugins() -> None:
    page = PICTURE.read_text(encoding="utf-8").partition("## What plugins may import")[2].partition("\n## ")[0]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (refused,) = (contract["forbidden_modules"] for contract in contracts if contract.get("allow_indirect_imports"))
    public = {f"gnomon.{name}" for name in re.findall(r"`(\w+)`", page) if name != "gnomon"}

    whole = {name for name in refused if name.count(".") == 1}
    parts = {name.rpartition(".")[0] for name in refused} - {"gnomon"}
    assert not public & whole
    assert parts <= public
    assert set(refused) <= set(MODULES)
    assert public | whole == {name for name in MODULES if name.count(".") == 1 and name.startswith("gnomon.")}
