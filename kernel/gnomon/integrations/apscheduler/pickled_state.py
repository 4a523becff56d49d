"""Reads pickled job states of APScheduler without running code from them.

`pickle.loads` imports modules and calls functions that the data names: anyone who can write to a job store runs code in
the process that reads it. Here, only values of a few harmless types of the standard library are built. Every other
class becomes a subclass of `ForeignObject`, which keeps the name of the class and the state, and calls nothing. That is
also why an import needs neither the functions of the jobs nor the classes of their triggers.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from gnomon.integrations.job_import import NotTakenError


class ForeignObject:
    """An object that was not built: its class by name, the arguments of its creation, and its state."""

    class_name: ClassVar[str] = ""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **_kwargs: Any) -> Self:
        found = super().__new__(cls)
        found.arguments = args
        found.state = {}
        return found

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Accept whatever the original class accepted."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state."""
        self.state = state

    def __call__(self, *args: Any, **_kwargs: Any) -> ForeignObject:
        """Accept a call: the result of a function that was not called is as unknown as the function."""
        return type(self)(*args)

    @property
    def fields(self) -> dict[str, Any]:
        """The attributes of the object, by name; those in slots come as the second of two parts."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        return {name: value for part in parts if isinstance(part, Mapping) for name, value in part.items()}

    def append(self, item: Any) -> None:
        """Accept an item of a list."""

    def extend(self, items: Any) -> None:
        """Accept items of a list."""

    def add(self, item: Any) -> None:
        """Accept an item of a set."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Accept an item of a mapping."""


def load_state(data: bytes) -> Any:
    """Return what was pickled, with ForeignObjects in it; raise NotTakenError where it cannot be read."""
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except NotTakenError:
        raise
    except Exception as exc:  # damaged data makes the unpickler raise almost anything
        raise NotTakenError(f"its pickled state cannot be read: {type(exc).__name__}: {exc}") from exc


def foreign_objects(value: Any, place: str = "") -> Iterator[tuple[str, ForeignObject]]:
    """Yield the ForeignObjects in a value with their places, such as `[0]['key']`."""
    if isinstance(value, ForeignObject):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from foreign_objects(key, f"{place}, a key")
            yield from foreign_objects(item, f"{place}[{key!r}]")
    elif isinstance(value, list | tuple | set | frozenset):
        for i, item in enumerate(value):
            yield from foreign_objects(item, f"{place}[{i}]")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = _HARMLESS.get((module_name, global_name))
        return known if known is not None else foreign_class(module_name, global_name)


def foreign_class(module: str, name: str) -> type[ForeignObject]:
    """Return the class that stands for another one."""
    return type(name, (ForeignObject,), {"class_name": f"{module}.{name}"})


def _zone(key: str | None, _from_cache: object = None) -> ZoneInfo:
    if not isinstance(key, str):
        raise NotTakenError("its time zone was read from a file and has no name")
    return ZoneInfo(key)


def _pytz_zone(name: str | None = None, *_offsets: object) -> Any:
    return UTC if name is None else _zone(name)


def _pytz_offset(minutes: int) -> timezone:
    return timezone(timedelta(minutes=minutes))


def _pytz_utc() -> timezone:
    return UTC


def _attribute(owner: Any, name: str) -> Any:
    """Stand in for `getattr`, which ZoneInfo is pickled with and which could reach anything."""
    if owner is _zone and name == "_unpickle":
        return _zone
    return foreign_class(getattr(owner, "class_name", type(owner).__name__), str(name))


def _latin1(text: str, _encoding: str = "latin1") -> bytes:
    """Stand in for `codecs.encode`, which old pickle protocols write bytes with."""
    return text.encode("latin1")


def _reconstruct(cls: Any, _base: object, _state: object) -> Any:
    """Stand in for `copyreg._reconstructor`, which old pickle protocols create objects with."""
    if isinstance(cls, type) and issubclass(cls, ForeignObject):
        return cls()
    raise NotTakenError(f"its pickled state makes an object of {cls!r}")


_HARMLESS: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{("datetime", kind.__name__): kind for kind in (date, datetime, time, timedelta, timezone)},
    **{("builtins", kind.__name__): kind for kind in (set, frozenset, bytearray, bytes, complex, list, dict, tuple)},
    **{("__builtin__", kind.__name__): kind for kind in (set, frozenset, bytearray, bytes, complex)},
    ("builtins", "getattr"): _attribute,
    ("__builtin__", "getattr"): _attribute,
    ("_codecs", "encode"): _latin1,
    ("collections", "OrderedDict"): OrderedDict,
    ("copyreg", "_reconstructor"): _reconstruct,
    ("copy_reg", "_reconstructor"): _reconstruct,
    ("decimal", "Decimal"): Decimal,
    ("uuid", "UUID"): UUID,
    ("zoneinfo", "ZoneInfo"): _zone,
    ("zoneinfo", "ZoneInfo._unpickle"): _zone,
    ("zoneinfo._zoneinfo", "ZoneInfo._unpickle"): _zone,
    ("pytz", "_p"): _pytz_zone,
    ("pytz", "_UTC"): _pytz_utc,
    ("pytz", "_FixedOffset"): _pytz_offset,
    ("pytz", "FixedOffset"): _pytz_offset,
}
"""What may be built, by the names in the data; old protocols have the names of Python 2."""
