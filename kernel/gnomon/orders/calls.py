"""Writes calls of KernelApi as orders, carries them out on the kernel that leads, and reads the answers.

Parameters and results are written as JSON, by the annotations of the method. A job is written as its definition, with
the name of its function.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import timedelta, tzinfo
from pathlib import PurePath
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from gnomon.api import KernelApi
from gnomon.domain import events
from gnomon.domain.codec import decode_all
from gnomon.domain.orders import Answer, Order
from gnomon.domain.parameter_checks import SHOWN
from gnomon.domain.run_order import RunOrder
from gnomon.durations import Duration, decode_hook, encode_hook
from gnomon.errors import GnomonError, JobError
from gnomon.jobs.callables import reference
from gnomon.jobs.definition import stored_job
from gnomon.jobs.plain_values import zone_name
from gnomon.jobs.registered import RegisteredJob
from gnomon.json_depth import ENVELOPE_DEPTH, MAX_DEPTH, is_text_too_deep
from gnomon.orders.order_errors import raise_error, written_error
from gnomon.safe_text import safe_repr, safe_str, type_name

ExtraCalls = Mapping[str, Callable[[], Awaitable[Any]]]
"""Calls without parameters that a process answers in addition, by name."""
_NOT_CALLED = frozenset({"sleep"})
_WAITING = frozenset({"wait", "wait_many"})
"""Calls that take as long as a body; a trigger that waits for room in a queue does so, too."""


class _Call:
    """A coroutine method of KernelApi as orders call it."""

    def __init__(self, name: str) -> None:
        method = getattr(KernelApi, name)
        hints = get_type_hints(method)
        self.signature = inspect.signature(method)
        self.parameters = list(self.signature.parameters.values())[1:]
        self.types = {name: _readable(hint) for name, hint in hints.items()}

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = self.signature.bind(None, *args, **kwargs).arguments
        return dict(list(bound.items())[1:])

    def read(self, raw: bytes) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and the named arguments of a call; msgspec.ValidationError, GnomonError."""
        given = msgspec.json.decode(raw, type=dict[str, Any])
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for one in self.parameters:
            if one.name not in given:
                continue
            value = given.pop(one.name)
            if one.kind is one.VAR_KEYWORD:
                named |= _facts(positional[0], value) if positional and isinstance(positional[0], type) else value
            elif one.kind is one.POSITIONAL_ONLY:
                positional.append(_read(value, self.types[one.name]))
            else:
                named[one.name] = _read(value, self.types[one.name])
        if given:
            raise GnomonError(f"the order has a parameter that this version does not know: {', '.join(given)}")
        try:
            self.signature.bind(None, *positional, **named)
        except TypeError as exc:
            raise GnomonError(f"the order is not valid: {exc}") from exc
        return positional, named


@functools.cache
def _call(name: str) -> _Call:
    if name.startswith("_") or name in _NOT_CALLED or not inspect.iscoroutinefunction(getattr(KernelApi, name, None)):
        raise GnomonError(f"the kernel that leads does not know the order {name!r}: it has another version")
    return _Call(name)


def write_order(name: str, /, *args: Any, **kwargs: Any) -> Order:
    """Return the order that calls a method of KernelApi; JobError for arguments that JSON cannot hold."""
    arguments = _call(name).arguments(args, kwargs)
    try:
        _expect_json(arguments)
        plain = msgspec.to_builtins(arguments, enc_hook=_encode_argument, builtin_types=(timedelta,))
        written = msgspec.json.encode(_with_durations(plain))
        is_too_deep = is_text_too_deep(written, MAX_DEPTH + ENVELOPE_DEPTH)
    except RecursionError:
        is_too_deep = True
    except JobError:
        raise
    except (TypeError, ValueError, NotImplementedError) as exc:
        why = _unwritable(arguments) or safe_str(exc)
        raise JobError(f"{name}: what is passed cannot be written as JSON for the kernel that leads: {why}") from exc
    if is_too_deep:
        raise JobError(f"{name}: what is passed is nested deeper than {MAX_DEPTH} levels, or contains itself")
    return Order(name, msgspec.Raw(written), waits=name in _WAITING or kwargs.get("when_full") == "wait")


async def carry_out(kernel: KernelApi, order: Order, extra: ExtraCalls) -> Answer:
    """Call the method of an order, and return its result or its error."""
    try:
        if (call := extra.get(order.call)) is not None:
            return Answer(_written(await call()))
        if is_text_too_deep(bytes(order.arguments), MAX_DEPTH + ENVELOPE_DEPTH):
            raise GnomonError(f"the order is nested deeper than {MAX_DEPTH} levels")
        if order.call == "health":
            return Answer(_written(kernel.health()))
        positional, named = _call(order.call).read(bytes(order.arguments))
        return Answer(_written(await getattr(kernel, order.call)(*positional, **named)))
    except msgspec.MsgspecError as exc:
        return Answer(error=written_error(GnomonError(f"the order {order.call!r} is not valid: {exc}")))
    except Exception as exc:  # noqa: BLE001 - whatever it is, its sender must know
        return Answer(error=written_error(exc))


def read_answer(name: str, answer: Answer) -> Any:
    """Return what the method returned, or raise its error."""
    return read_result(answer, _call(name).types["return"])


def read_result(answer: Answer, expected: Any) -> Any:
    """Return a result of the expected type, or raise the error of the answer."""
    if answer.error is not None:
        raise_error(answer.error)
    if get_args(expected) == (events.Event,):
        return decode_all(bytes(answer.result))
    return _read(msgspec.json.decode(answer.result), expected)


def _readable(hint: Any) -> Any:
    """Return an annotation as msgspec can read it: what can be iterated is a list.

    The texts in a mapping are checked by the method, which names the one that is wrong.
    """
    if get_origin(hint) is Iterable:
        return list[_readable(get_args(hint)[0])]  # type: ignore[misc]
    members = get_args(hint)
    if RegisteredJob in members:
        return JobLike
    if hint == Mapping[str, str] | None:
        return Mapping[str, Any] | None
    return hint


class JobLike:
    """Stands for the annotation of parameters that take a job, a function or its name."""


def _read(value: Any, hint: Any) -> Any:
    if hint is JobLike:
        return stored_job(value) if isinstance(value, dict) else value
    if get_args(hint) == (JobLike,):
        return [_read(one, JobLike) for one in value]
    if get_origin(hint) is type:
        return {fact.__name__: fact for fact in get_args(get_args(hint)[0])}[msgspec.convert(value, str)]
    return msgspec.convert(value, hint, dec_hook=_decode)


def _facts(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an event with the types that they are declared with."""
    types = get_type_hints(kind)
    return {name: _read(value, types.get(name, Any)) for name, value in given.items()}


def _decode(expected: type, value: Any) -> Any:
    """Decode durations, which msgspec writes as ISO 8601 where they are fields of a result."""
    if expected is Duration and isinstance(value, str) and value.lstrip("-").startswith("P"):
        return Duration.parse(msgspec.convert(value, timedelta))
    return decode_hook(expected, value)


def _written(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value, enc_hook=_encode_result))


def _encode_result(value: Any) -> Any:
    """Encode what results have besides JSON: functions of jobs by name, and whatever else as text."""
    try:
        return encode_hook(value)
    except NotImplementedError:
        return reference(value) if callable(value) else safe_str(value)


def _encode_argument(value: Any) -> Any:
    """Encode what arguments have besides JSON: jobs, types of events, zones, and values of annotated parameters."""
    if isinstance(value, RegisteredJob):
        return value.definition
    if isinstance(value, type) and issubclass(value, events.Event):
        return value.__name__
    if isinstance(value, tzinfo):
        return zone_name(value)
    if isinstance(value, PurePath):
        return str(value)
    return reference(value) if callable(value) else encode_hook(value)


def _with_durations(value: Any) -> Any:
    """Return plain values with the timedeltas as text of a config: msgspec would write ISO 8601, which no job has."""
    if isinstance(value, timedelta):
        return str(Duration.parse(value))
    if isinstance(value, dict):
        return {key: _with_durations(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_durations(one) for one in value]
    return value


def _expect_json(value: Any, place: str = "") -> None:
    """Raise JobError for values that JSON would turn into others."""
    if isinstance(value, float) and not math.isfinite(value):
        raise JobError(f"{place}: {value} is not JSON; pass a finite number, or text")
    if isinstance(value, set | frozenset | bytearray | memoryview):
        raise JobError(f"{place}: a {type(value).__name__} is not JSON; pass a list, or text")
    if callable(value) and "kwargs" in place:
        raise JobError(f"{place}: the function {reference(value)} is not JSON; pass text")
    if isinstance(value, Mapping) and (odd := [key for key in value if not isinstance(key, str)]):
        raise JobError(f"{place}: the key {safe_repr(odd[0], SHOWN)} is not text, as all keys in JSON are")
    for _, part, its_place in _parts(value, place):
        _expect_json(part, its_place)


def _unwritable(value: Any, place: str = "") -> str:
    """Return which part of a value has no form in JSON, and where it stands; "" if all have one."""
    for key, part, its_place in _parts(value, place):
        if why := _unwritable(part, its_place):
            return why
        if isinstance(key, str) and (why := _unwritable(key, f"{place}: the key")):
            return why
    if isinstance(value, Mapping | list | tuple | RunOrder):
        return ""
    try:
        msgspec.json.encode(value, enc_hook=_encode_argument)
    except UnicodeEncodeError:
        return f"{place}: {safe_repr(value, SHOWN)} has half a character (a lone surrogate)"
    except (TypeError, ValueError, NotImplementedError):
        return f"{place}: {safe_repr(value, SHOWN)} is of the type {type_name(value)}"
    return ""


def _parts(value: Any, place: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield the keys and parts of a value, each with the place where it stands."""
    if isinstance(value, RunOrder):
        value = {"kwargs": value.kwargs, "labels": value.labels}
    if isinstance(value, Mapping):
        yield from ((key, part, f"{place}.{key}" if place else safe_str(key)) for key, part in value.items())
    elif isinstance(value, list | tuple):
        yield from ((number, part, f"{place}[{number}]") for number, part in enumerate(value))
