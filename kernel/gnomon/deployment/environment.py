"""Environment variables that override keys of the config, and references to variables and files in its values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

SECTIONS = ("kernel", "plugins", "jobs")
OVERRIDE_PREFIX = "GNOMON__"
_UNRESOLVED: Final = object()


def override(raw: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    """Replace keys of the config by variables such as GNOMON__PLUGINS__WEB__PORT."""
    for variable in sorted(name for name in environ if name.startswith(OVERRIDE_PREFIX)):
        keys = variable.removeprefix(OVERRIDE_PREFIX).lower().split("__")
        table = _table_for(keys, raw)
        if table is not None:
            table[_matching_key(table, keys[-1])] = _parse_value(environ[variable])
        else:
            problems.append(
                f"${variable}: matches no key of the config; expected {OVERRIDE_PREFIX}KERNEL__KEY, "
                f"{OVERRIDE_PREFIX}PLUGINS__NAME__KEY, or {OVERRIDE_PREFIX}JOBS__ID__KEY with the id of a job in it"
            )


def _table_for(keys: list[str], raw: dict[str, Any]) -> dict[str, Any] | None:
    """Return the table of the last key, adding it if necessary, or None if there can be no such table."""
    section, *path = keys
    if section not in SECTIONS or not path or not all(path):
        return None
    if section == "jobs":
        table = _job_table(path[0], raw.get(section)) if len(path) > 1 else None
        path = path[1:]
    else:
        table = raw.setdefault(section, {})
    for key in path[:-1]:
        table = table.setdefault(_matching_key(table, key), {}) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


def _job_table(word: str, jobs: Any) -> dict[str, Any] | None:
    tables = [job for job in jobs if isinstance(job, dict)] if isinstance(jobs, list) else []
    return next((job for job in tables if _normalize(str(job.get("id"))) == word), None)


def _matching_key(table: dict[str, Any], word: str) -> str:
    """Return the key of the table that a variable means; variables have no dots, dashes or lower-case letters."""
    return next((key for key in table if _normalize(key) == word), word)


def _normalize(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", key.lower())


def _parse_value(text: str) -> Any:
    """Parse a TOML value; anything else is text, so that text needs no second pair of quotes."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


class References:
    """Replaces `{ env = ... }` and `{ file = ... }` by the variable or the content of the file."""

    def __init__(self, environ: Mapping[str, str], directory: Path, problems: list[str]) -> None:
        self._environ = environ
        self._directory = directory
        self._problems = problems

    def resolve_in(self, table: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Resolve the values of a table that is not a reference itself; those that cannot be resolved are left out."""
        resolved = {key: self._resolve_key(key, value, f"{path}.{key}") for key, value in table.items()}
        return {key: value for key, value in resolved.items() if value is not _UNRESOLVED}

    def resolve(self, value: Any, path: str) -> Any:
        """Resolve a value and the values in it."""
        match value:
            case {"env": str(name)} if len(value) == 1:
                return self._variable(name, path)
            case {"file": str(name)} if len(value) == 1:
                return self._content(name, path)
            case dict():
                return self.resolve_in(value, path)
            case list():
                resolved = [self.resolve(item, f"{path}[{i}]") for i, item in enumerate(value)]
                return [item for item in resolved if item is not _UNRESOLVED]
        return value

    def _resolve_key(self, key: str, value: Any, path: str) -> Any:
        # A function may have a single argument named `env` or `file`.
        is_plain = key == "kwargs" and isinstance(value, dict)
        return self.resolve_in(value, path) if is_plain else self.resolve(value, path)

    def _variable(self, name: str, path: str) -> Any:
        if name in self._environ:
            return self._environ[name]
        self._problems.append(f"{path}: the environment variable {name} is not set")
        return _UNRESOLVED

    def _content(self, name: str, path: str) -> Any:
        file = self._directory / Path(name).expanduser()
        try:
            return file.read_text(encoding="utf-8").removesuffix("\n")
        except OSError as exc:
            self._problems.append(f"{path}: {file} cannot be read: {exc.strerror}")
        except UnicodeDecodeError:
            self._problems.append(f"{path}: {file} is not valid UTF-8 text")
        return _UNRESOLVED
