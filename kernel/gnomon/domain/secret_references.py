"""References to secrets in the arguments of jobs: what the log, the views and the API hold in place of a secret.

A reference is written as a mapping with one reserved key, `{"$secret": {"env": "NAME"}}`. Only definitions of jobs may
hold one. Arguments that come with a command are escaped: a mapping in them that has such a key gets one more `$`, which
is removed again when the body is called. So nobody who may trigger a job can read the environment of the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gnomon.conversion import Secret

TAG = "$secret"
SOURCES = ("env", "file")
_SCALARS = frozenset({str, int, float, bool, type(None)})
_TEMPLATE = re.compile(r"\$\{\{?\s*(env|file|secrets?)\s*[:.]", re.IGNORECASE)
_RESERVED = re.compile(r"\$+secret")


class SecretReference:
    """A secret that a job's body receives as an argument: `SecretReference(env="NAME")` or `(file="path")`.

    It is read when the body is called. A path should be absolute; a relative one is relative to the working folder.
    """

    __slots__ = ("kind", "name")

    def __init__(self, *, env: str | None = None, file: str | None = None) -> None:
        given = [(kind, name) for kind, name in zip(SOURCES, (env, file), strict=True) if name is not None]
        if len(given) != 1:
            raise ValueError(f"a reference to a secret needs exactly one of env and file, got {len(given)}")
        self.kind, self.name = given[0]

    def __repr__(self) -> str:
        return f"SecretReference({self.kind}={self.name!r})"

    def __str__(self) -> str:
        return f"the environment variable {self.name}" if self.kind == "env" else f"the file {self.name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretReference) and (self.kind, self.name) == (other.kind, other.name)

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def as_json(self) -> dict[str, dict[str, str]]:
        """Return the form that the log holds."""
        return {TAG: {self.kind: self.name}}


def reference_in(value: Any) -> SecretReference | None:
    """Return the reference that a value from the log stands for, or None for any other value."""
    if type(value) is not dict or len(value) != 1 or type(source := value.get(TAG)) is not dict or len(source) != 1:
        return None
    ((kind, name),) = source.items()
    return SecretReference(**{kind: name}) if kind in SOURCES and isinstance(name, str) else None


def is_flat(value: Any) -> bool:
    """Return whether arguments have only texts, numbers and the like: they cannot have references. Takes 0.3 µs."""
    if type(value) is dict:
        return _SCALARS.issuperset(map(type, value.values()))
    return type(value) is list and _SCALARS.issuperset(map(type, value))


def references(value: Any, place: str) -> Iterator[tuple[str, SecretReference]]:
    """Yield the references in arguments as the log holds them, each with its place, such as `kwargs.login.token`."""
    for where, nested in _items(value, place):
        if (reference := reference_in(nested)) is not None:
            yield where, reference
        else:
            yield from references(nested, where)


def lookalikes(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield what was meant as a reference in arguments, and is plain data there, each with its place.

    In a config `{ env = "NAME" }` is a reference; in the keys of an order `{"env": "NAME"}` would be data, as would
    `"${env:NAME}"` be everywhere.
    """
    for where, nested in _items(value, place):
        is_table = type(nested) is dict and len(nested) == 1 and isinstance(next(iter(nested.values())), str)
        if (is_table and next(iter(nested)) in SOURCES) or (isinstance(nested, str) and _TEMPLATE.match(nested)):
            yield where, nested
        else:
            yield from lookalikes(nested, where)


def sealed(value: Any, place: str) -> Any:
    """Return arguments of a definition in the form of the log: with mappings in place of SecretReference objects.

    What has none is returned as it is. ValueError for a Secret: the log would keep it as plain text.
    """
    if isinstance(value, SecretReference):
        return value.as_json()
    if isinstance(value, Secret):
        raise ValueError(
            f"{place} is a Secret, which the log would keep as plain text; pass a reference to where the secret is "
            'kept, `{ env = "NAME" }` in the config or SecretReference(env="NAME") in code'
        )
    return _mapped(value, place, sealed)


def escaped(value: Any) -> Any:
    """Return an argument that came with a command so that it cannot be taken for a reference."""
    return _rekeyed(value, lambda key: f"${key}" if _RESERVED.fullmatch(key) else key)


def escaped_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping of a definition, whose values are in the form of the log, so that it is not a reference."""
    return {f"${key}" if _RESERVED.fullmatch(key) else key: value for key, value in table.items()}


def opened(value: Any, place: str, read: Callable[[str, SecretReference], str]) -> Any:
    """Return an argument as the body receives it: `read(place, reference)` returns the text of a reference.

    Escaped keys lose their additional `$`. What has neither is returned as it is.
    """
    if (reference := reference_in(value)) is not None:
        return read(place, reference)
    inner = _mapped(value, place, lambda nested, where: opened(nested, where, read))
    if type(inner) is dict and any(_is_escaped(key) for key in inner):
        return {key[1:] if _is_escaped(key) else key: nested for key, nested in inner.items()}
    return inner


def places_of_references(old: Any, new: Any, place: str) -> Iterator[str]:
    """Yield the places at which an old value holds plain data, and a new one a reference to a secret."""
    if reference_in(new) is not None:
        if reference_in(old) is None and old is not None:
            yield place
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key, nested in old.items():
            yield from places_of_references(nested, new.get(key), f"{place}.{key}")
    elif isinstance(old, list) and isinstance(new, list):
        for i, (nested, newer) in enumerate(zip(old, new, strict=False)):
            yield from places_of_references(nested, newer, f"{place}[{i}]")


def masked_like(old: Any, new: Any, mask: str = "***") -> Any:
    """Return an old value with `mask` in place of what the new value has a reference for.

    A definition may be older than its reference: then the old one holds the secret itself.
    """
    if reference_in(new) is not None:
        return old if reference_in(old) is not None or old is None else mask
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {key: masked_like(nested, new.get(key), mask) for key, nested in old.items()}
    if isinstance(old, list) and isinstance(new, list):
        return [masked_like(nested, new[i] if i < len(new) else None, mask) for i, nested in enumerate(old)]
    return old


def _items(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f"{place}.{key}", nested) for key, nested in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"{place}[{i}]", nested) for i, nested in enumerate(value))


def _mapped(value: Any, place: str, change: Callable[[Any, str], Any]) -> Any:
    """Return a list, tuple or dict with changed values: the same object where none changes."""
    if type(value) not in {dict, list, tuple}:
        return value
    nested = [change(one, where) for where, one in _items(value, place)]
    if all(one is old for one, old in zip(nested, value.values() if type(value) is dict else value, strict=True)):
        return value
    return dict(zip(value, nested, strict=True)) if type(value) is dict else type(value)(nested)


def _rekeyed(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {rename(key) if isinstance(key, str) else key: _rekeyed(nested, rename) for key, nested in value.items()}
    return [_rekeyed(nested, rename) for nested in value] if isinstance(value, list | tuple) else value


def _is_escaped(key: Any) -> bool:
    return isinstance(key, str) and key.startswith("$$") and _RESERVED.fullmatch(key) is not None
