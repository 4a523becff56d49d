import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path

import pytest

import gnomon

ROOT = Path(__file__).parents[2]
TEST_COMMAND = "python -m pip install tox && tox"
KEEP_A_CHANGELOG = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
RELEASE = re.compile(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d")
MACHINE_PATH = re.compile(r"(?<![\w./:-])/(?:work/(?:main|shared)|root/|Users/|home/\w|opt/(?:wheels|pypi)|tmp/venvs)")

# Only tox installs the wheel; people install the tree, or nothing.
on_the_wheel = pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="is about the built wheel: run tox")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def committed() -> Iterator[Path]:
    """Walk what a clone holds: dotted folders other than .ci belong to tools."""
    for folder, subfolders, files in os.walk(ROOT):
        subfolders[:] = [
            name for name in subfolders if name == ".ci" or not name.startswith((".", "__pycache__", "venv", "dist"))
        ]
        yield from (Path(folder, name) for name in files if name != ".git")  # a file, in a worktree


def test_the_ci_script_runs_the_command_that_the_readme_tells() -> None:
    assert TEST_COMMAND in text("README.md").splitlines()
    assert text(".ci/run").splitlines()[-1] == TEST_COMMAND


def test_the_ci_script_can_be_run_by_its_name() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_changelog_has_the_headings_of_keep_a_changelog() -> None:
    headings = re.findall(r"^(#+) (.+)$", text("CHANGELOG.md"), re.MULTILINE)

    releases = [title for level, title in headings if level == "##"]
    kinds = {title for level, title in headings if level == "###"}

    assert headings[0] == ("#", "Changelog")
    assert releases[0] == "[Unreleased]"
    assert all(RELEASE.fullmatch(release) for release in releases)
    assert kinds <= KEEP_A_CHANGELOG


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in committed()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]

    assert not found


@pytest.mark.parametrize("source_root", ["kernel", "plugins"])
def test_a_source_root_is_no_package(source_root: str) -> None:
    assert not (ROOT / source_root / "__init__.py").exists()


@pytest.mark.parametrize("source_root", ["kernel", "plugins"])
def test_every_folder_of_a_source_root_is_a_package(source_root: str) -> None:
    folders = [path for path in (ROOT / source_root).iterdir() if path.is_dir() and path.name != "__pycache__"]

    strangers = [folder.name for folder in folders if not (folder / "__init__.py").exists()]

    assert not strangers


@on_the_wheel
def test_the_built_wheel_is_tested_and_not_the_tree() -> None:
    assert Path(gnomon.__file__).is_relative_to(sys.prefix)
    assert find_spec("kernel") is None
    assert find_spec("plugins") is None


@on_the_wheel
@pytest.mark.parametrize("group", ["gnomon.plugins", "pytest11", "console_scripts"])
def test_every_entry_point_of_ours_can_be_loaded(group: str) -> None:
    ours = [entry for entry in entry_points(group=group) if entry.dist and entry.dist.name == "gnomon"]

    assert ours
    assert all(callable(entry.load()) or entry.group == "pytest11" for entry in ours)


@on_the_wheel
def test_the_installed_version_is_that_of_pyproject() -> None:
    assert f'version = "{version("gnomon")}"' in text("pyproject.toml")


def test_nothing_uses_the_default_executor_of_a_loop() -> None:
    """Bodies may fill it or shut it down: use gnomon.threads.in_thread, or another executor."""
    calls = re.compile(r"asyncio\.to_thread|run_in_executor\(\s*None")
    sources = [path for root in ("kernel", "plugins") for path in (ROOT / root).rglob("*.py")]

    assert [
        path.name for path in sources if calls.search(path.read_text(encoding="utf-8")) and path.stem != "threads"
    ] == []


def test_tox_runs_every_long_form() -> None:
    elsewhere = {"tests/bench/test_benchmarks.py"}
    users = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("tests/*/**/*.py")
        if re.search("^from fault_runs import", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    run = text("tox.ini").partition("[testenv:faults]")[2].partition("{posargs:")[2].partition("}")[0].split()
    places = [place for place in run if place != "\\"]

    assert {path for path in users if not any(f"{path}/".startswith(f"{place}/") for place in places)} == elsewhere
    assert all(any(f"{path}/".startswith(f"{place}/") for path in users) for place in places)
