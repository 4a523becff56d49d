"""The keys of a job from the command line: from a TOML or JSON file, and from `--set` and `--unset`."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from gnomon.json_depth import MAX_DEPTH, is_too_deep

MANY = 2
"""Jobs from which a file has several."""


def read_job_keys(file: str | None, assigned: tuple[str, ...], removed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the keys of a file, with those of `--set` in their places and null for those of `--unset`."""
    keys = _only(_read_file(file), file) if file is not None else {}
    for text in assigned:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise click.BadParameter(f"expected KEY=VALUE such as kwargs.market=cn, got {text!r}", param_hint="--set")
        _put(keys, path.strip(), _value(value.strip()), "--set")
    for path in removed:
        _put(keys, path, None, "--unset")
    if is_too_deep(keys):
        raise click.BadParameter(f"the keys are nested deeper than {MAX_DEPTH} levels: flatten them")
    return _with_references(keys)


def read_many_jobs(file: str) -> list[dict[str, Any]]:
    """Return the keys of the jobs of a file that has several, an empty list for the file of one job."""
    jobs = _read_file(file)
    if len(jobs) < MANY:
        return []
    if is_too_deep(jobs):
        raise click.BadParameter(f"the keys are nested deeper than {MAX_DEPTH} levels: flatten them")
    return [_with_references(keys, f"jobs[{number}]") for number, keys in enumerate(jobs)]


def _only(jobs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    if len(jobs) != 1:
        raise click.BadParameter(f"{name} has {len(jobs)} jobs, expected one", param_hint="FILE")
    return jobs[0]


def _read_file(name: str) -> list[dict[str, Any]]:
    """Read the keys of jobs: one table of keys, a JSON list of them, or a config with [[jobs]]."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise click.BadParameter(f"{name} cannot be read: {exc}", param_hint="FILE") from exc
    try:
        is_json = name.endswith(".json") or text.lstrip().startswith(("{", "[{"))
        found = json.loads(text) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise click.BadParameter(f"{name} is not valid TOML or JSON: {exc}", param_hint="FILE") from exc
    jobs = found.get("jobs", found) if isinstance(found, dict) else found
    jobs = jobs if isinstance(jobs, list) else [jobs]
    if not all(isinstance(keys, dict) for keys in jobs):
        raise click.BadParameter(f"{name} has no table with the keys of a job", param_hint="FILE")
    plain: list[dict[str, Any]] = json.loads(msgspec.json.encode(jobs))  # times of TOML become text
    return plain


def _value(text: str) -> Any:
    """Return a value as TOML has it; anything else is text, so that text needs no second pair of quotes."""
    from gnomon.sourced_values import parse_toml

    return json.loads(msgspec.json.encode(parse_toml(text)))


def _put(keys: dict[str, Any], path: str, value: Any, option: str) -> None:
    """Set a key at a place such as `kwargs.market`."""
    *tables, last = path.split(".")
    table: Any = keys
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise click.BadParameter(f"{path}: {name} is not a table", param_hint=option)
    table[last] = value


def _with_references(keys: Mapping[str, Any], place: str = "job") -> dict[str, Any]:
    """Resolve `{ env = ... }` and `{ file = ... }` as a config does: those in arguments stay references."""
    from gnomon.deployment.environment import References
    from gnomon.errors import ConfigError

    problems: list[str] = []
    table = References(os.environ, Path.cwd(), {}, problems, for_runs=False).resolve_job(keys, place, ())
    if problems:
        raise ConfigError(problems)
    return dict(table)
