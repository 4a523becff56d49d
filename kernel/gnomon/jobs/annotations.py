"""The annotations of a function's parameters: resolved where they are text, and put into terms of msgspec."""

from __future__ import annotations

import functools
import re
import sys
import typing
from collections.abc import Callable, Iterator
from datetime import timedelta
from inspect import Parameter, unwrap
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import MethodType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from msgspec import inspect

from gnomon.durations import Duration
from gnomon.safe_text import class_name, safe_str

_PATHS = frozenset({Path, PosixPath, WindowsPath, PurePath, PurePosixPath, PureWindowsPath})


class _IsTimedelta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, timedelta)


class Timespan(metaclass=_IsTimedelta):
    """Stands for timedelta in annotations: msgspec itself reads ISO 8601, this one "5m" and seconds as well."""


_DOTTED = re.compile(r"'[^']*'|\"[^\"]*\"|(?:[A-Za-z_]\w*\.)+(\w+)")
CUSTOM = _PATHS | {ZoneInfo, Duration, Timespan}
"""The classes beyond msgspec's own that arguments are converted to."""


def resolved(func: Callable[..., Any], annotation: Any) -> Any:
    """Return an annotation with its text evaluated; Parameter.empty where a name in it is not known here.

    Such names are imported for type checkers only: nothing can be converted to them.
    """
    if annotation is Parameter.empty:
        return annotation
    holder = _Holder()
    holder.__annotations__ = {"value": annotation}
    try:
        # get_type_hints also resolves text inside of an annotation: list["Row"].
        found = typing.get_type_hints(holder, _globals_of(func), _closure_of(func), include_extras=True)["value"]
    except Exception:  # noqa: BLE001 - an annotation is code, which may raise anything
        return Parameter.empty
    return _with_timespans(found)


class _Holder:
    """An object for get_type_hints that has annotations and nothing else."""

    __annotations__: dict[str, Any]


def supported(annotation: Any) -> bool:
    """Return whether arguments can be checked and converted to an annotation."""
    if any(annotation is one for one in (Parameter.empty, Any, object)):
        return False
    try:
        infos = [inspect.type_info(member) for member in members_of(annotation)]
    except Exception:  # noqa: BLE001 - msgspec refuses it, or a class in it raises when it is looked at
        return False
    return all(map(_is_supported, _types_in(infos)))


def members_of(annotation: Any) -> tuple[Any, ...]:
    """Return the types to try in turn: several for a union that msgspec cannot tell apart, such as `date | str`."""
    try:
        inspect.type_info(annotation)
    except Exception:  # noqa: BLE001 - as above
        inner = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
        if get_origin(inner) in {Union, UnionType}:
            return get_args(inner)
    return (annotation,)


def label(annotation: Any) -> str:
    """Return an annotation as it is written in code, without the names of modules."""
    if isinstance(annotation, type) and not get_args(annotation):
        text = class_name(annotation)
    else:
        text = _DOTTED.sub(lambda found: found[1] or found[0], safe_str(annotation))
    return text.replace("Timespan", "timedelta").replace("NoneType", "None")


def _types_in(infos: list[inspect.Type]) -> Iterator[inspect.Type]:
    """Yield every type that an annotation consists of, each class once."""
    waiting, seen = list(infos), set[type]()
    while waiting:
        info = waiting.pop()
        yield info
        if (cls := getattr(info, "cls", None)) is not None:
            if cls in seen:  # a tree of dataclasses
                continue
            seen.add(cls)
        nested = [getattr(info, name, None) for name in ("item_type", "key_type", "value_type")]
        nested += [*getattr(info, "item_types", ()), *getattr(info, "types", ())]
        nested += [field.type for field in getattr(info, "fields", ())]
        waiting += [one for one in nested if isinstance(one, inspect.Type)]


def _is_supported(info: inspect.Type) -> bool:
    if isinstance(info, inspect.CustomType):
        return info.cls in CUSTOM
    return not isinstance(info, inspect.RawType | inspect.ExtType)


def _with_timespans(annotation: Any) -> Any:
    """Return an annotation with Timespan in place of timedelta; not within dataclasses and Structs."""
    if annotation is timedelta:
        return Timespan
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in {None, Literal} or not args:
        return annotation
    if origin is Annotated:
        inner, *metadata = args
        changed = _with_timespans(inner)
        return annotation if changed is inner else Annotated[changed, *metadata]
    new = tuple(map(_with_timespans, args))
    if all(one is old for one, old in zip(new, args, strict=True)):
        return annotation
    try:
        return Union[new] if origin in {Union, UnionType} else origin[new]  # noqa: UP007 - computed
    except TypeError:
        return annotation


def _function_of(func: Any) -> Any:
    """Return the function whose code has the annotations."""
    while True:
        if isinstance(func, functools.partial):
            func = func.func
        elif isinstance(func, MethodType):
            func = func.__func__
        elif hasattr(func, "__wrapped__"):
            func = unwrap(func)
        else:
            break
    if isinstance(func, type):
        made_by = vars(func)
        return made_by.get("__init__") or made_by.get("__new__") or func
    return func if hasattr(func, "__globals__") else getattr(type(func), "__call__", func)  # noqa: B004


def _globals_of(func: Any) -> dict[str, Any]:
    function = _function_of(func)
    found = getattr(function, "__globals__", None)
    if found is None:
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        found = vars(module) if module is not None else {}
    return found


def _closure_of(func: Any) -> dict[str, Any]:
    """Return the variables of outer functions, and the type parameters, that an annotation may name."""
    function = _function_of(func)
    found: dict[str, Any] = {one.__name__: one for one in getattr(function, "__type_params__", ())}
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found
