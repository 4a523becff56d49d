"""What the environment adds to a config file: overrides of its keys, and the secrets that its values refer to."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

SECTIONS = ("kernel", "plugins", "jobs")
OVERRIDE = "GNOMON__"
_LOST: Final = object()


def override(raw: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    """Put variables such as GNOMON__PLUGINS__WEB__PORT in the place of what the file says."""
    for variable in sorted(name for name in environ if name.startswith(OVERRIDE)):
        keys = variable.removeprefix(OVERRIDE).lower().split("__")
        table = _table_for(keys, raw)
        if table is not None:
            table[_spelling(table, keys[-1])] = _value(environ[variable])
        else:
            problems.append(
                f"${variable}: there is nothing that it could override; expected {OVERRIDE}KERNEL__KEY, "
                f"{OVERRIDE}PLUGINS__NAME__KEY, or {OVERRIDE}JOBS__ID__KEY for a job of the config file"
            )


def _table_for(keys: list[str], raw: dict[str, Any]) -> dict[str, Any] | None:
    """Find the table that holds the last key, or make it; None where there can be none."""
    section, *path = keys
    if section not in SECTIONS or not path or not all(path):
        return None
    if section == "jobs":
        table = _job_of(path[0], raw.get(section)) if len(path) > 1 else None
        path = path[1:]
    else:
        table = raw.setdefault(section, {})
    for key in path[:-1]:
        table = table.setdefault(_spelling(table, key), {}) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


def _job_of(word: str, jobs: Any) -> dict[str, Any] | None:
    tables = [job for job in jobs if isinstance(job, dict)] if isinstance(jobs, list) else []
    return next((job for job in tables if _as_word(str(job.get("id"))) == word), None)


def _spelling(table: dict[str, Any], word: str) -> str:
    """Find how the table spells a key: names of variables have neither dots nor dashes nor small letters."""
    return next((key for key in table if _as_word(key) == word), word)


def _as_word(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", key.lower())


def _value(text: str) -> Any:
    """Read a TOML value; what is none is text, so that nobody has to quote twice."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["value"] if len(table) == 1 else text


class References:
    """Puts variables of the environment and contents of files where `{ env = ... }` or `{ file = ... }` asks for it."""

    def __init__(self, environ: Mapping[str, str], directory: Path, problems: list[str]) -> None:
        self._environ = environ
        self._directory = directory
        self._problems = problems

    def resolve_in(self, table: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Resolve the values of a table which is no reference itself, whatever its keys; lost ones are left out."""
        resolved = {key: self._resolve_key(key, value, f"{path}.{key}") for key, value in table.items()}
        return {key: value for key, value in resolved.items() if value is not _LOST}

    def resolve(self, value: Any, path: str) -> Any:
        """Resolve a value, and what is in it."""
        match value:
            case {"env": str(name)} if len(value) == 1:
                return self._variable(name, path)
            case {"file": str(name)} if len(value) == 1:
                return self._content(name, path)
            case dict():
                return self.resolve_in(value, path)
            case list():
                resolved = [self.resolve(item, f"{path}[{i}]") for i, item in enumerate(value)]
                return [item for item in resolved if item is not _LOST]
        return value

    def _resolve_key(self, key: str, value: Any, path: str) -> Any:
        # A function may have one argument that is called `env` or `file`.
        is_plain = key == "kwargs" and isinstance(value, dict)
        return self.resolve_in(value, path) if is_plain else self.resolve(value, path)

    def _variable(self, name: str, path: str) -> Any:
        if name in self._environ:
            return self._environ[name]
        self._problems.append(f"{path}: the environment variable {name} is not set")
        return _LOST

    def _content(self, name: str, path: str) -> Any:
        file = self._directory / Path(name).expanduser()
        try:
            return file.read_text(encoding="utf-8").removesuffix("\n")
        except OSError as exc:
            self._problems.append(f"{path}: {file} cannot be read: {exc.strerror}")
        except UnicodeDecodeError:
            self._problems.append(f"{path}: {file} is not UTF-8 text")
        return _LOST
