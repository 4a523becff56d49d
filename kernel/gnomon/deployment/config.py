"""Find and read the config file, apply overrides from the environment, and resolve references to secrets.

The sections of plugins and the jobs are not checked here: only the plugins know the keys that are theirs.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from gnomon.conversion import Secret, Table, convert
from gnomon.deployment.environment import SECTIONS, References, override
from gnomon.domain.kernel_health import Role
from gnomon.domain.revision import Revision
from gnomon.durations import Duration
from gnomon.errors import ConfigError
from gnomon.jobs.allowed_functions import pattern_problem
from gnomon.jobs.groups import Group, convert_groups
from gnomon.jobs.registered import ARGUMENTS_LIMIT
from gnomon.json_depth import MAX_DEPTH, is_too_deep
from gnomon.runners.log_buffer import LARGEST_LOG, MAX_LINES
from gnomon.scheduling.timezones import parse_timezone
from gnomon.sourced_values import typed
from gnomon.text import close_match

__all__ = ["Config", "KernelConfig", "Secret", "find_config", "load_config"]

DEFAULT_FILE = "gnomon.toml"
LARGEST_ARGUMENTS = 2 * 1024 * 1024
"""Bytes: an event, which also has other fields, may have 4 MiB."""


def _revision_text(value: object) -> str:
    return str(Revision.parse(value))


class KernelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section [kernel].

    `timezone` applies to jobs without one. `node` defaults to the host name. `drain` limits how long a stop waits for
    running bodies, `hook_timeout` how long one call of a plugin's hook may take. An event loop that does not answer for
    `blocked_loop_after` is reported; 0 turns that off. `python_path` has the folders in which functions are looked up,
    relative to the folder of the config file. `modules` are imported for their @job functions. The arguments of a run
    may have `arguments_limit` bytes as JSON, and its newest `log_lines` lines are kept. `role` is that of the kernel of
    `gnomon run`. `allow_functions` are the functions that orders from outside, such as over HTTP, may name in new jobs:
    "myapp.tasks:*". `revision` orders the definitions of old and new processes: a number, a version such as "2.4.1", or
    a time.
    """

    timezone: str = "UTC"
    node: str | None = None
    max_running: int = 100
    queue_limit: int = 1_000
    drain: Duration = Duration(seconds=30)
    hook_timeout: Duration = Duration(seconds=10)
    blocked_loop_after: Duration = Duration(seconds=1)
    role: Role = "leader"
    python_path: list[str] = msgspec.field(default_factory=lambda: ["."])
    modules: list[str] = []
    arguments_limit: int = ARGUMENTS_LIMIT
    log_lines: int = MAX_LINES
    allow_functions: list[str] = []
    revision: str | None = None

    PREPARED: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"revision": _revision_text}

    def __post_init__(self) -> None:
        """Raise ValueError for values that are out of range."""
        parse_timezone(self.timezone)
        if self.max_running < 1:
            raise ValueError(f"max_running must be 1 or more, got {self.max_running}")
        if self.queue_limit < 0:
            raise ValueError(f"queue_limit must be 0 or more, got {self.queue_limit}")
        if not 0 < self.arguments_limit <= LARGEST_ARGUMENTS:
            raise ValueError(f"arguments_limit must be from 1 to {LARGEST_ARGUMENTS} bytes, got {self.arguments_limit}")
        if not 1 <= self.log_lines <= LARGEST_LOG:
            raise ValueError(f"log_lines must be from 1 to {LARGEST_LOG:,}, got {self.log_lines}")
        if problems := [problem for pattern in self.allow_functions if (problem := pattern_problem(pattern))]:
            raise ValueError("allow_functions: " + "; ".join(problems))


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A config as it was written. Its relative paths are relative to `directory`.

    `sections` has the tables of the plugins by name, `jobs` those of the jobs; both are checked once the plugins are
    loaded. `source` is None for the built-in example, and `file` its absolute path. `secret_files` are the files that
    references name, with their places.
    """

    kernel: KernelConfig = KernelConfig()
    groups: dict[str, Group] = {}
    plugin_paths: list[Path] = []
    sections: dict[str, dict[str, Any]] = {}
    jobs: list[dict[str, Any]] = []
    source: Path | None = None
    file: Path | None = None
    secret_files: dict[Path, str] = {}
    directory: Path = msgspec.field(default_factory=Path.cwd)


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the config file: the given one, $GNOMON_CONFIG, ./gnomon.toml, or None for the built-in example."""
    if explicit is not None:
        return explicit
    if named := environ.get("GNOMON_CONFIG"):
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def load_config(
    path: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    for_runs: bool = True,
    only_plugin: str | None = None,
) -> Config:
    """Read a config file, or the built-in example for None; raise ConfigError with every problem and its place.

    With `for_runs` a secret that the arguments of a job refer to must be readable; without it they are not looked for.
    With `only_plugin` the sections of other plugins and the jobs are left out: what they refer to need not be there.
    """
    raw = _parse(path)
    directory = path.resolve().parent if path else Path.cwd()
    problems: list[str] = []
    overrides = override(raw, environ, problems)
    if is_too_deep(raw):
        raise ConfigError([_too_deep(path)])
    sections = _check_shape(raw, problems)
    if only_plugin is not None:
        sections.plugins = {name: table for name, table in sections.plugins.items() if name == only_plugin}
        sections.jobs = []
    references = References(environ, directory, overrides, problems, for_runs=for_runs)
    config = Config(
        kernel=_kernel(references.resolve_in(sections.kernel, "kernel", ("kernel",)), problems),
        groups=_groups(references.resolve_in(sections.groups, "groups", ("groups",)), problems),
        plugin_paths=_plugin_paths(references.resolve_in(sections.paths, "plugins", ("plugins",)), directory, problems),
        sections={
            name: references.resolve_in(table, f"plugins.{name}", ("plugins", name))
            for name, table in sections.plugins.items()
        },
        jobs=[references.resolve_job(table, job_place(i, table), ("jobs", i)) for i, table in enumerate(sections.jobs)],
        source=path,
        file=path.absolute() if path else None,
        secret_files=references.files,
        directory=directory,
    )
    if problems:
        raise ConfigError(problems)
    return config


def job_place(i: int, table: Table) -> str:
    """Return the place of a job for a problem, `jobs[2 'nightly']`: the id is easier to find than the number."""
    job_id = table.get("id")
    return f"jobs[{i} {job_id!r}]" if isinstance(job_id, str) and job_id else f"jobs[{i}]"


def _parse(path: Path | None) -> dict[str, Any]:
    text = _read(path) if path else files("gnomon.deployment").joinpath("quickstart.toml").read_text(encoding="utf-8")
    try:
        return tomllib.loads(text)
    except RecursionError as exc:
        raise ConfigError([_too_deep(path)]) from exc
    except tomllib.TOMLDecodeError as exc:
        problem, _, place = str(exc).removesuffix(")").rpartition(" (at ")
        numbers = re.findall(r"\d+", place) or [str(text.count("\n") + 1)]  # no numbers: the end of the document
        raise ConfigError([f"{':'.join([str(path), *numbers])}: not valid TOML: {problem}"]) from exc


def _too_deep(path: Path | None) -> str:
    return f"{path}: tables and arrays are nested deeper than {MAX_DEPTH} levels: flatten them"


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # editors on Windows add a byte order mark
    except FileNotFoundError as exc:
        problem = "the file does not exist; name another one with --config or $GNOMON_CONFIG"
        raise ConfigError([f"{path}: {problem}"]) from exc
    except IsADirectoryError as exc:
        raise ConfigError(
            [f"{path}: expected a TOML file, found a folder; did you mean {path / DEFAULT_FILE}?"]
        ) from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError(
            [f"{path}:{line}: byte 0x{exc.object[exc.start]:02x} is not valid UTF-8; save the file as UTF-8"]
        ) from exc
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be read: {exc.strerror}"]) from exc


class _Sections(msgspec.Struct):
    kernel: dict[str, Any]
    groups: dict[str, Any]
    paths: dict[str, Any]
    plugins: dict[str, dict[str, Any]]
    jobs: list[dict[str, Any]]


def _check_shape(raw: dict[str, Any], problems: list[str]) -> _Sections:
    """Return what has the shape of a section, a plugin's table or a job; add a problem for everything else."""
    problems += [f"{name}: unknown section{_section_hint(name)}" for name in raw if name not in SECTIONS]
    kernel, groups, plugins = (_table(raw.get(name, {}), name, problems) for name in ("kernel", "groups", "plugins"))
    paths = {"paths": plugins.pop("paths")} if "paths" in plugins else {}
    tables = {name: _table(table, f"plugins.{name}", problems) for name, table in plugins.items()}
    jobs = raw.get("jobs", [])
    if not isinstance(jobs, list) or not all(isinstance(table, dict) for table in jobs):
        problems.append(f"jobs: expected tables under the heading [[jobs]], in two brackets{_heading_hint(jobs)}")
        jobs = []
    return _Sections(kernel, groups, paths, tables, jobs)


def _table(found: Any, path: str, problems: list[str]) -> dict[str, Any]:
    if isinstance(found, dict):
        return dict(found)
    problems.append(f"{path}: expected a table, written [{path}], got {found!r}")
    return {}


def _heading_hint(jobs: Any) -> str:
    named = [key for key, value in jobs.items() if isinstance(value, dict)] if isinstance(jobs, dict) else []
    return f'; for [jobs.{named[0]}] write [[jobs]] id = "{named[0]}"' if named else ""


def _section_hint(name: str) -> str:
    return close_match(name, SECTIONS) or f"; the sections are {', '.join(SECTIONS)}, and a plugin has [plugins.{name}]"


def _kernel(table: Table, problems: list[str]) -> KernelConfig:
    try:
        return convert(table, KernelConfig, "kernel")
    except ConfigError as exc:
        problems += exc.problems
        return KernelConfig()


def _groups(table: Table, problems: list[str]) -> dict[str, Group]:
    try:
        return convert_groups(table)
    except ConfigError as exc:
        problems += exc.problems
        return {}


class _Paths(msgspec.Struct):
    paths: list[str]


def _plugin_paths(table: Table, directory: Path, problems: list[str]) -> list[Path]:
    paths = typed(table, _Paths).get("paths", [])
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        problems.append(f'plugins.paths: expected a list of file names such as ["my_plugin.py"], got {paths!r}')
        return []
    return [directory / Path(path).expanduser() for path in paths]
