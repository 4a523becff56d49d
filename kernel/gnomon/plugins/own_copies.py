"""Copies of events and jobs for plugins: no plugin can change what another one, or the kernel, sees."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from msgspec.structs import force_setattr

from gnomon.domain.events import Event
from gnomon.jobs.job import Job
from gnomon.json_depth import cut_value

E_ = TypeVar("E_", bound=Event)

_SCALARS = (
    inspect.NoneType, inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.StrType, inspect.DateTimeType,
    inspect.LiteralType,
)  # fmt: skip


def own_copy(event: E_) -> E_:
    """Return a copy that shares no mutable value with the event.

    Events are frozen, but their arguments, definitions and return values are dicts and lists.
    """
    copied: E_ = event.__copy__()  # type: ignore[attr-defined]  # a method of Structs that msgspec's types lack
    for field, copy_of in _mutable_fields(type(event)):
        if (value := getattr(event, field)) is not None:  # empty ones too: a list of a job would be shared by all
            try:
                force_setattr(copied, field, copy_of(value))
            except RecursionError:  # older versions accepted arguments with up to 974 levels
                force_setattr(copied, field, cut_value(value))
    return copied


def own_job(job: Job) -> Job:
    """Return a copy of a job whose arguments, options and lists a plugin may change without any effect."""
    copied: Job = job.__copy__()  # type: ignore[attr-defined]
    for field in job.__struct_fields__:
        value = getattr(job, field)
        if isinstance(value, dict | list):
            force_setattr(copied, field, copy.deepcopy(value) if field in {"args", "kwargs"} else copy.copy(value))
    return copied


@cache
def _mutable_fields(event_type: type[Event]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """Return the fields that hold mutable values, each with the function that copies them."""
    info = inspect.type_info(event_type)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - every event is one
    # to_builtins leaves JSON as it is, at about 0.03 µs a value; but it makes dicts of Structs.
    return tuple(
        (field.name, list if _is_list_of_immutables(field.type) else msgspec.to_builtins)
        for field in info.fields
        if not _is_immutable(field.type)
    )


def _is_list_of_immutables(found: inspect.Type) -> bool:
    if isinstance(found, inspect.UnionType):
        return all(_is_immutable(one) or _is_list_of_immutables(one) for one in found.types)
    return isinstance(found, inspect.ListType) and _is_immutable(found.item_type)


def _is_immutable(found: inspect.Type) -> bool:
    match found:
        case inspect.UnionType():
            return all(map(_is_immutable, found.types))
        case inspect.VarTupleType():
            return _is_immutable(found.item_type)
        case inspect.StructType():
            return found.cls.__struct_config__.frozen and all(_is_immutable(field.type) for field in found.fields)
    return isinstance(found, _SCALARS)
