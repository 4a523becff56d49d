import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = [ROOT / "kernel", ROOT / "plugins"]


def build(target: str, folder: Path) -> Path:
    # hatchling itself, not `pip wheel`: no network, no second environment
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def files(folder: Path) -> set[str]:
    """Name the files of a folder, less what Python and the tools leave in it."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not any(part.startswith((".", "__pycache__")) for part in path.parts)}


def tree() -> set[str]:
    return set().union(*(files(source_root) for source_root in SOURCE_ROOTS))


def packages() -> set[str]:
    return {init.parent.name for source_root in SOURCE_ROOTS for init in source_root.glob("*/__init__.py")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Name the files of the built wheel, less its metadata."""
    with ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Name the files of the built sdist, less the folder that holds them all."""
    with tarfile.open(build("sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def test_the_wheel_holds_the_packages_under_the_two_roots_and_nothing_else(wheel: set[str]) -> None:
    top_level = {name.partition("/")[0] for name in wheel}

    assert top_level == packages()


def test_the_wheel_holds_every_file_of_the_tree(wheel: set[str]) -> None:
    assert wheel == tree()


def test_every_package_says_that_it_is_typed(wheel: set[str]) -> None:
    untyped = {package for package in packages() if f"{package}/py.typed" not in wheel}

    assert not untyped


def entry_points() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["scripts"], *project["entry-points"].values()]
    return sorted({target for group in groups for target in group.values()})


@pytest.mark.parametrize("target", entry_points())
def test_an_entry_point_leads_to_a_module_of_the_wheel(target: str, wheel: set[str]) -> None:
    module = target.partition(":")[0].replace(".", "/")

    assert wheel & {f"{module}.py", f"{module}/__init__.py"}


def test_the_sdist_can_be_built_and_tested(sdist: set[str]) -> None:
    needed = {"pyproject.toml", "tox.ini", ".ci/run", "README.md", "LICENSE", "CHANGELOG.md"}
    tests = {f"tests/{name}" for name in files(ROOT / "tests")}

    missing = (needed | tests) - sdist

    assert not missing


def test_the_sdist_holds_every_source(sdist: set[str]) -> None:
    sources = {name.partition("/")[2] for name in sdist if name.startswith(("kernel/", "plugins/"))}

    assert sources == tree()
