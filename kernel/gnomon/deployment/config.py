"""One TOML file -> Config: found, read, overridden from the environment, with secrets put in their places.

Sections of plugins and jobs are handed on as they are: only deployment.py knows the plugins that own their keys.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from gnomon.conversion import Secret, Table, convert
from gnomon.deployment.environment import SECTIONS, References, override
from gnomon.durations import Duration
from gnomon.errors import ConfigError
from gnomon.scheduling.timezones import parse_timezone
from gnomon.text import close_match

__all__ = ["Config", "KernelConfig", "Secret", "find_config", "load_config"]

DEFAULT_FILE = "gnomon.toml"


class KernelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section [kernel].

    `timezone` is for jobs that name none. `node` is by default the host's name. `drain` is how long a stop waits for
    running bodies, `hook_timeout` how long one call of a plugin's hook may take. Functions are looked up in
    `python_path`, whose folders are counted from the config file's; `modules` are imported for the jobs that they
    declare with @job.
    """

    timezone: str = "UTC"
    node: str | None = None
    max_running: int = 100
    drain: Duration = Duration(seconds=30)
    hook_timeout: Duration = Duration(seconds=10)
    python_path: list[str] = msgspec.field(default_factory=lambda: ["."])
    modules: list[str] = []

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        parse_timezone(self.timezone)
        if self.max_running < 1:
            raise ValueError(f"max_running must be 1 or more, got {self.max_running}")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as it was written, and `directory`, from which its relative paths are counted.

    `sections` has the tables of the plugins by name and `jobs` those of the jobs; both are checked when plugins are
    known. `source` is None for the built-in defaults.
    """

    kernel: KernelConfig = KernelConfig()
    plugin_paths: list[Path] = []
    sections: dict[str, dict[str, Any]] = {}
    jobs: list[dict[str, Any]] = []
    source: Path | None = None
    directory: Path = msgspec.field(default_factory=Path.cwd)


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Tell which file describes the deployment: the one named, $GNOMON_CONFIG, ./gnomon.toml, or None: the defaults."""
    if explicit is not None:
        return explicit
    if named := environ.get("GNOMON_CONFIG"):
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def load_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a config file, or with None the built-in quickstart; ConfigError has every problem with its place."""
    raw = _parse(path)
    directory = path.resolve().parent if path else Path.cwd()
    problems: list[str] = []
    override(raw, environ, problems)
    sections = _check_shape(raw, problems)
    references = References(environ, directory, problems)
    config = Config(
        kernel=_kernel(references.resolve_in(sections.kernel, "kernel"), problems),
        plugin_paths=_plugin_paths(references.resolve_in(sections.paths, "plugins"), directory, problems),
        sections={name: references.resolve_in(table, f"plugins.{name}") for name, table in sections.plugins.items()},
        jobs=[references.resolve_in(table, job_place(i, table)) for i, table in enumerate(sections.jobs)],
        source=path,
        directory=directory,
    )
    if problems:
        raise ConfigError(problems)
    return config


def job_place(i: int, table: Table) -> str:
    """Name the table of a job in a problem, `jobs[2 'nightly']`: nobody counts the tables of a long file."""
    job_id = table.get("id")
    return f"jobs[{i} {job_id!r}]" if isinstance(job_id, str) and job_id else f"jobs[{i}]"


def _parse(path: Path | None) -> dict[str, Any]:
    text = _read(path) if path else files("gnomon.deployment").joinpath("quickstart.toml").read_text(encoding="utf-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        what, _, place = str(exc).removesuffix(")").rpartition(" (at ")
        numbers = re.findall(r"\d+", place) or [str(text.count("\n") + 1)]  # else it is the end of the document
        raise ConfigError([f"{':'.join([str(path), *numbers])}: this is no TOML: {what}"]) from exc


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # editors on Windows put a mark in front
    except FileNotFoundError as exc:
        problem = "there is no such file; name one with --config or $GNOMON_CONFIG, without both the defaults are used"
        raise ConfigError([f"{path}: {problem}"]) from exc
    except IsADirectoryError as exc:
        raise ConfigError([f"{path}: is a folder, expected a TOML file; perhaps {path / DEFAULT_FILE}?"]) from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError([f"{path}:{line}: byte 0x{exc.object[exc.start]:02x} is not UTF-8; save it as such"]) from exc
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be read: {exc.strerror}"]) from exc


class _Sections(msgspec.Struct):
    kernel: dict[str, Any]
    paths: dict[str, Any]
    plugins: dict[str, dict[str, Any]]
    jobs: list[dict[str, Any]]


def _check_shape(raw: dict[str, Any], problems: list[str]) -> _Sections:
    """Keep what has the shape of a section, a plugin's table or a job; all else is a problem."""
    problems += [f"{name}: there is no such section{_section_hint(name)}" for name in raw if name not in SECTIONS]
    kernel, plugins = (_table(raw.get(name, {}), name, problems) for name in ("kernel", "plugins"))
    paths = {"paths": plugins.pop("paths")} if "paths" in plugins else {}
    tables = {name: _table(table, f"plugins.{name}", problems) for name, table in plugins.items()}
    jobs = raw.get("jobs", [])
    if not isinstance(jobs, list) or not all(isinstance(table, dict) for table in jobs):
        problems.append("jobs: expected tables that are headed [[jobs]], with two brackets")
        jobs = []
    return _Sections(kernel, paths, tables, jobs)


def _table(found: Any, path: str, problems: list[str]) -> dict[str, Any]:
    if isinstance(found, dict):
        return dict(found)
    problems.append(f"{path}: expected a table, written [{path}], got {found!r}")
    return {}


def _section_hint(name: str) -> str:
    return close_match(name, SECTIONS) or f"; known are {', '.join(SECTIONS)}, and plugins have [plugins.{name}]"


def _kernel(table: Table, problems: list[str]) -> KernelConfig:
    try:
        return convert(table, KernelConfig, "kernel")
    except ConfigError as exc:
        problems += exc.problems
        return KernelConfig()


def _plugin_paths(table: Table, directory: Path, problems: list[str]) -> list[Path]:
    paths = table.get("paths", [])
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        problems.append(f'plugins.paths: expected a list of file names such as ["my_plugin.py"], got {paths!r}')
        return []
    return [directory / Path(path).expanduser() for path in paths]
