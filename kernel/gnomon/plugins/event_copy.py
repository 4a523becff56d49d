"""Copies of events for plugins: no plugin can change what another one, or the kernel, sees."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from msgspec.structs import force_setattr

from gnomon.domain import codec
from gnomon.domain.events import Event

E_ = TypeVar("E_", bound=Event)

_SCALARS = (
    inspect.NoneType, inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.StrType, inspect.DateTimeType,
    inspect.LiteralType,
)  # fmt: skip


def own_copy(event: E_) -> E_:
    """Return a copy that shares no mutable value with the event.

    Events are frozen, but their arguments, definitions and return values are dicts and lists. An event without any
    costs 0.3 µs.
    """
    copied: E_ = event.__copy__()  # type: ignore[attr-defined]  # a method of Structs that msgspec's types lack
    try:
        for field in _mutable_fields(type(event)):
            if value := getattr(event, field):
                force_setattr(copied, field, _copied(value))
    except RecursionError:  # nested more deeply than Python calls can be
        return codec.decode(codec.encode(event))  # type: ignore[return-value]
    return copied


@cache
def _mutable_fields(event_type: type[Event]) -> tuple[str, ...]:
    info = inspect.type_info(event_type)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - every event is one
    return tuple(field.name for field in info.fields if not _is_scalar(field.type))


def _is_scalar(found: inspect.Type) -> bool:
    if isinstance(found, inspect.UnionType):
        return all(map(_is_scalar, found.types))
    return isinstance(found, _SCALARS)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value) if type(value) in {list, tuple} else list(value)
    if isinstance(value, msgspec.Struct) and not value.__struct_config__.frozen:
        return msgspec.convert(msgspec.to_builtins(value), type(value))
    return value
