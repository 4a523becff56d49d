"""Text from objects of jobs and plugins, whose own methods may raise anything: always writable, always bounded.

str(), repr() and the attributes of foreign objects run foreign code. SystemExit or KeyboardInterrupt raised there would
end the kernel's process.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

from gnomon.text import shorten

Hide = Callable[[str], str]
"""Returns a text without the secrets in it."""

T = TypeVar("T")

MESSAGE_LIMIT = 2_000
"""Characters of a message."""
TRACEBACK_LIMIT = 32 * 1024
"""Characters of a traceback."""


def exact(text: str, limit: int = MESSAGE_LIMIT, hide: Hide | None = None) -> str:
    """Return a bounded, writable text. The methods of a subclass of str are not called.

    `hide` removes secrets; it is called with the whole text, since a cut might go through the middle of one.
    """
    if hide is not None:
        text = hide(text)
    length = str.__len__(text)
    if length > 2 * limit:  # both ends are enough, and escaping all of it takes long: 50 MB in one line were seen
        half = limit // 2
        head, tail = str.__getitem__(text, slice(half)), str.__getitem__(text, slice(length - half, None))
        return f"{shorten(head, limit)}\n… {length - 2 * half} characters left out …\n{shorten(tail, limit)}"
    return shorten("".join((text,)), limit)  # noqa: FLY002 - an f-string calls __format__ of a subclass


def is_instance(value: object, kinds: type[T] | tuple[type[T], ...]) -> TypeGuard[T]:
    """Return whether an object is of a class. Unlike isinstance, it does not read `__class__`, which may raise."""
    return issubclass(type(value), kinds)


def type_name(value: object) -> str:
    """Return the name of an object's type, with its module unless that is builtins."""
    name, module = class_name(type(value)), class_module(type(value))
    return name if module in {None, "builtins"} else exact(f"{module}.{name}")


def class_name(kind: type) -> str:
    """Return the qualified name of a class. Its metaclass is not asked, which may raise anything."""
    return exact(type.__dict__["__qualname__"].__get__(kind))


def class_module(kind: type) -> str | None:
    """Return the name of the module of a class, None where it has no readable one."""
    found: object = type.__dict__["__module__"].__get__(kind)
    return exact(found) if isinstance(found, str) else None


def safe_str(value: object, limit: int = MESSAGE_LIMIT, hide: Hide | None = None) -> str:
    """Return str(value)."""
    return _converted(str, value, limit, hide)


def safe_repr(value: object, limit: int = MESSAGE_LIMIT, hide: Hide | None = None) -> str:
    """Return repr(value)."""
    return _converted(repr, value, limit, hide)


def safe_traceback(exc: BaseException, limit: int = TRACEBACK_LIMIT, hide: Hide | None = None) -> str:
    """Return the traceback of an exception with its causes, both ends of a long one."""
    try:
        return exact("".join(traceback.format_exception(exc)), limit, hide)
    except BaseException:  # noqa: BLE001 - its __str__, __cause__ or __notes__ may raise anything
        return exact("".join(traceback.format_tb(exc.__traceback__)) + type_name(exc), limit, hide)


def _converted(convert: Any, value: object, limit: int, hide: Hide | None) -> str:
    try:
        return exact(convert(value), limit, hide)
    except BaseException:  # noqa: BLE001 - as above
        return f"({type_name(value)} that cannot be shown)"
