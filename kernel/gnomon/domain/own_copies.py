"""Copies of events and views: nobody who gets one can change what others, or the kernel, see."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from msgspec.structs import force_setattr

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.json_depth import cut_value

T = TypeVar("T")
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
            force_setattr(copied, field, copy_of(value))
    return copied


def own_view(execution: Execution) -> Execution:
    """Return a copy that shares no mutable value with the execution."""
    copied: Execution = execution.__copy__()  # type: ignore[attr-defined]
    copied.args, copied.kwargs = own_value(execution.args), own_value(execution.kwargs)
    copied.labels = dict(execution.labels)
    if execution.return_value is not None:
        copied.return_value = own_value(execution.return_value)
    return copied


def own_state(state: JobState) -> JobState:
    """Return a copy that shares no mutable value with the state of a job."""
    copied: JobState = state.__copy__()  # type: ignore[attr-defined]
    copied.definition = own_value(state.definition)
    return copied


def own_value(value: T) -> T:
    """Return a copy of JSON data."""
    try:
        return msgspec.to_builtins(value)  # type: ignore[no-any-return]  # leaves JSON as it is, 0.03 µs a value
    except RecursionError:  # older versions accepted arguments with up to 974 levels
        return cut_value(value)  # type: ignore[no-any-return]


@cache
def _mutable_fields(event_type: type[Event]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """Return the fields that hold mutable values, each with the function that copies them."""
    info = inspect.type_info(event_type)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - every event is one
    return tuple((field.name, _copier(field.type)) for field in info.fields if not _is_immutable(field.type))


def _copier(found: inspect.Type) -> Callable[[Any], Any]:
    """Return the function that copies the values of a field; own_value alone would make dicts of Structs."""
    if _is_list_of_immutables(found):
        return list
    kinds = found.types if isinstance(found, inspect.UnionType) else (found,)
    struct = next((kind.cls for kind in kinds if isinstance(kind, inspect.StructType)), None)
    return own_value if struct is None else lambda value: msgspec.convert(own_value(value), struct)


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
