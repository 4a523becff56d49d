"""The check of files that decide which code a kernel runs: the config, plugin files, and modules of jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.machinery import all_suffixes
from importlib.util import cache_from_source
from pathlib import Path

from gnomon.deployment.config import Config
from gnomon.errors import ConfigError
from gnomon.files import other_writers


def check_writers(config: Config) -> list[str]:
    """Return a warning for each file and folder with which another user could run code; for root raise ConfigError.

    Root runs nothing that others can change: they would become root. So this comes before the first import, and looks
    at the files of the modules that the config names.
    """
    places = {} if config.file is None else {config.file: "the config"}
    for written, folder in zip(config.kernel.python_path, python_folders(config), strict=True):
        places.setdefault(folder, f"kernel.python_path: {written!r}")
    for path in config.plugin_paths:
        for place in _code_files(path):
            places.setdefault(place, f"plugins.paths: {path.name!r}")
    names = [*config.kernel.modules, *(str(table.get("func", "")) for table in config.jobs)]
    for name in dict.fromkeys(name.partition(":")[0] for name in names):
        for place in _module_files(name, python_folders(config)):
            places.setdefault(place, f"module {name}")
    found = [
        f"{name}: {problem}, who could run code as the user of this kernel: chmod go-w"
        for place, name in places.items()
        if (problem := other_writers(place))
    ]
    if found and os.geteuid() == 0:
        raise ConfigError(found)
    return [*found, *_check_secrets(config)]


def check_imported(config: Config, problems: list[str], warnings: list[str]) -> None:
    """Add a warning, or for root a problem, for each module from `python_path` that others can change.

    That includes what the modules of the jobs have imported. What the check before the imports named is not repeated.
    """
    found = problems if os.geteuid() == 0 else warnings
    folders = {os.path.normpath(folder) for folder in python_folders(config)}
    roots = sorted({*folders, *map(os.path.normpath, sys.path)}, key=len, reverse=True)
    places: dict[Path, str] = {}
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not any(file.startswith(f"{folder}{os.sep}") for folder in folders):
            continue
        path = os.path.normpath(file)
        root = next(root for root in roots if path.startswith(f"{root}{os.sep}"))
        if root in folders:  # and not in a folder below it that has an own entry, such as a virtual environment
            for place in (*_code_files(Path(path)), *_folders_between(Path(path), Path(root))):
                places.setdefault(place, name)
    for place, name in places.items():
        problem = other_writers(place)
        if problem and not any(f": {problem}, " in line for line in (*problems, *warnings)):
            found.append(f"module {name}: {problem}, who could run code as the user of this kernel: chmod go-w")


def python_folders(config: Config) -> list[Path]:
    """Return the folders of `python_path`."""
    return [config.directory / Path(folder).expanduser() for folder in config.kernel.python_path]


def _check_secrets(config: Config) -> list[str]:
    return [
        f"{where}: {problem}, who could replace this value: chmod go-w"
        for file, where in config.secret_files.items()
        if (problem := other_writers(file))
    ]


def _module_files(name: str, folders: Iterable[Path]) -> list[Path]:
    """Return the files and folders, as far as they exist, from which a module and its packages may be imported."""
    places: list[Path] = []
    parts = [part for part in name.split(".") if part.isidentifier()]
    for base in folders:
        folder = base
        for part in parts:
            files = [folder / f"{part}{suffix}" for suffix in all_suffixes()]
            folder /= part
            places += [folder, *files, *(folder / f"__init__{suffix}" for suffix in all_suffixes())]
    return [code for place in places if place.exists() for code in _code_files(place)]


def _code_files(path: Path) -> list[Path]:
    """Return a file and its compiled form with the folder of that, which Python trusts as much as the file."""
    if path.suffix != ".py":
        return [path]
    cached = Path(cache_from_source(str(path)))
    return [place for place in (path, cached.parent, cached) if place.exists()]


def _folders_between(path: Path, root: Path) -> list[Path]:
    return [folder for folder in path.parents if root in folder.parents]
