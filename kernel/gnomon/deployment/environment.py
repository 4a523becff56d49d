"""Environment variables that override keys of the config, and references to variables and files in its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gnomon.domain.secret_references import SecretReference, escaped_keys
from gnomon.jobs.secrets import read_secret
from gnomon.sourced_values import Place, Source, SourcedTable, parse_toml

SECTIONS = ("kernel", "groups", "plugins", "jobs")
OVERRIDE_PREFIX = "GNOMON__"
_UNRESOLVED: Final = object()


def override(raw: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> dict[Place, Source]:
    """Replace keys of the config by variables such as GNOMON__PLUGINS__WEB__PORT; return their sources by place."""
    sources: dict[Place, Source] = {}
    for variable in sorted(name for name in environ if name.startswith(OVERRIDE_PREFIX)):
        keys = variable.removeprefix(OVERRIDE_PREFIX).lower().split("__")
        place = _place_of(keys, raw)
        if place is not None:
            table: Any = raw
            for key in place[:-1]:
                table = table[key] if isinstance(key, int) else table.setdefault(key, {})
            table[place[-1]] = parse_toml(environ[variable])
            sources[place] = Source(environ[variable], f"the environment variable {variable}")
        else:
            problems.append(
                f"${variable}: matches no key of the config; expected {OVERRIDE_PREFIX}KERNEL__KEY, "
                f"{OVERRIDE_PREFIX}GROUPS__NAME, "
                f"{OVERRIDE_PREFIX}PLUGINS__NAME__KEY, or {OVERRIDE_PREFIX}JOBS__ID__KEY with the id of a job in it"
            )
    return sources


def _place_of(keys: list[str], raw: dict[str, Any]) -> Place | None:
    """Return the place of the last key, or None if there can be no table for it."""
    section, *path = keys
    if section not in SECTIONS or not path or not all(path):
        return None
    place: list[str | int] = [section]
    table: Any = raw.get(section, {})
    if section == "jobs":
        index = _job_index(path[0], table) if len(path) > 1 else None
        if index is None:
            return None
        place.append(index)
        table, path = table[index], path[1:]
    for key in path:
        if not isinstance(table, dict):
            return None
        place.append(_matching_key(table, key))
        table = table.get(place[-1], {})
    return tuple(place)


def _job_index(word: str, jobs: Any) -> int | None:
    tables = [(i, job) for i, job in enumerate(jobs) if isinstance(job, dict)] if isinstance(jobs, list) else []
    return next((i for i, job in tables if _normalize(str(job.get("id"))) == word), None)


def _matching_key(table: dict[str, Any], word: str) -> str:
    """Return the key of the table that a variable means; variables have no dots, dashes or lower-case letters."""
    return next((key for key in table if _normalize(key) == word), word)


def _normalize(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", key.lower())


class References:
    """Replaces `{ env = ... }` and `{ file = ... }` by the variable or the content of the file.

    `overrides` has the sources of the values that override keys of the config, by their places in it.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        directory: Path,
        overrides: Mapping[Place, Source],
        problems: list[str],
        *,
        for_runs: bool = True,
    ) -> None:
        self._environ = environ
        self._directory = directory
        self._overrides = overrides
        self._problems = problems
        self._for_runs = for_runs
        self.files: dict[Path, str] = {}
        """The files that references name, each with the place of the first reference."""

    def resolve_in(self, table: Mapping[str, Any], path: str, place: Place) -> SourcedTable:
        """Resolve the values of a table that is not a reference itself; those that cannot be resolved are left out."""
        sources = {keys[len(place) :]: one for keys, one in self._overrides.items() if keys[: len(place)] == place}
        return SourcedTable(self._resolve_in(table, path, (), sources), sources)

    def resolve_job(self, table: Mapping[str, Any], path: str, place: Place) -> SourcedTable:
        """Resolve the values of a job. References in its arguments stay references: they are read for each run."""
        arguments = {name: table[name] for name in ("args", "kwargs") if name in table}
        job = self.resolve_in({key: value for key, value in table.items() if key not in arguments}, path, place)
        for name, value in arguments.items():
            job[name] = value
            if isinstance(value, dict if name == "kwargs" else list):
                job[name] = self._kept_in(value, f"{path}.{name}")
            elif _reference(value) is not None:
                self._problems.append(
                    f"{path}.{name}: expected the arguments themselves; a reference may stand for each of them"
                )
                del job[name]
        return job

    def _kept_in(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: self._kept(nested, f"{path}.{key}") for key, nested in value.items()}
        if isinstance(value, list):
            return [self._kept(item, f"{path}[{i}]") for i, item in enumerate(value)]
        return value

    def _kept(self, value: Any, path: str) -> Any:
        """Return an argument with references in the form of the log, after a check that they can be read."""
        if (reference := _reference(value)) is None:
            return escaped_keys(self._kept_in(value, path)) if isinstance(value, dict) else self._kept_in(value, path)
        if reference.kind == "file":
            reference = SecretReference(file=str(self._directory / Path(reference.name).expanduser()))
        if self._for_runs:
            self._read(reference, path)
        return reference.as_json()

    def _resolve_in(
        self, table: Mapping[str, Any], path: str, place: Place, sources: dict[Place, Source]
    ) -> dict[str, Any]:
        resolved = {key: self._resolve(value, f"{path}.{key}", (*place, key), sources) for key, value in table.items()}
        return {key: value for key, value in resolved.items() if value is not _UNRESOLVED}

    def _resolve(self, value: Any, path: str, place: Place, sources: dict[Place, Source]) -> Any:
        """Resolve a value and the values in it; add the sources of those that were references."""
        if (reference := _reference(value)) is not None:
            text = self._read(reference, path)
            if text is None:
                return _UNRESOLVED
            sources[place] = Source(text, str(reference))
            return text
        if isinstance(value, dict):
            return self._resolve_in(value, path, place, sources)
        if isinstance(value, list):
            return self._resolve_items(value, path, place, sources)
        return value

    def _resolve_items(self, items: list[Any], path: str, place: Place, sources: dict[Place, Source]) -> list[Any]:
        resolved: list[Any] = []
        for i, item in enumerate(items):
            found = self._resolve(item, f"{path}[{i}]", (*place, len(resolved)), sources)
            resolved += [] if found is _UNRESOLVED else [found]
        return resolved

    def _read(self, reference: SecretReference, path: str) -> str | None:
        if reference.kind == "file":
            file = self._directory / Path(reference.name).expanduser()
            reference = SecretReference(file=str(file))
            self.files.setdefault(file, path)
        try:
            return read_secret(reference, self._environ)
        except ValueError as exc:
            self._problems.append(f"{path}: {exc}")
            return None


def _reference(value: Any) -> SecretReference | None:
    """Return the reference that a value of the config stands for, or None."""
    match value:
        case {"env": str(name)} if len(value) == 1:
            return SecretReference(env=name)
        case {"file": str(name)} if len(value) == 1:
            return SecretReference(file=name)
    return None
