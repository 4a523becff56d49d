"""Keys of an argument that its dataclass, Struct or TypedDict does not have: msgspec would drop them without a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import inspect

from gnomon.text import close_match

_OBJECTS = (inspect.DataclassType, inspect.StructType, inspect.TypedDictType)


def unknown_field(info: inspect.Type, value: Any, place: str = "") -> str | None:
    """Return a sentence about the first key in a converted value that its type does not have, or None."""
    match info:
        case inspect.UnionType():
            fitting = [one for one in info.types if isinstance(one, _OBJECTS)]
            containers = [one for one in info.types if _holds(one, value)]
            nested = fitting if isinstance(value, Mapping) else containers
            # Of several classes msgspec chooses by their tags; each tag has its own fields.
            return unknown_field(nested[0], value, place) if len(nested) == 1 else None
        case inspect.DataclassType() | inspect.StructType() | inspect.TypedDictType():
            return _unknown_key(info, value, place) if isinstance(value, Mapping) else None
        case inspect.DictType():
            pairs = value.items() if isinstance(value, Mapping) else ()
            return _first(unknown_field(info.value_type, one, f"{place}.{key}") for key, one in pairs)
        case inspect.TupleType():
            types = zip(info.item_types, value, strict=False) if isinstance(value, list) else ()
            return _first(unknown_field(kind, one, f"{place}[{i}]") for i, (kind, one) in enumerate(types))
        case inspect.ListType() | inspect.SetType() | inspect.FrozenSetType() | inspect.VarTupleType():
            items = value if isinstance(value, list) else ()
            return _first(unknown_field(info.item_type, one, f"{place}[{i}]") for i, one in enumerate(items))
    return None


def _unknown_key(
    info: inspect.DataclassType | inspect.StructType | inspect.TypedDictType, value: Mapping[str, Any], place: str
) -> str | None:
    fields = {field.encode_name: field.type for field in info.fields}
    tag = getattr(info, "tag_field", None)
    for key, nested in value.items():
        if key in fields:
            if (found := unknown_field(fields[key], nested, f"{place}.{key}")) is not None:
                return found
        elif key != tag:
            hint = close_match(key, fields) or f"; its fields are {', '.join(fields) or 'none'}"
            where = f" at {place.removeprefix('.')}" if place else ""
            return f"{info.cls.__qualname__} has no field {key!r}{where}{hint}"
    return None


def _holds(info: inspect.Type, value: Any) -> bool:
    sequences = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType, inspect.TupleType)
    return isinstance(value, list) and isinstance(info, sequences)


def _first(found: Iterable[str | None]) -> str | None:
    return next((one for one in found if one is not None), None)
