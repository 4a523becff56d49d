"""Arguments by annotation: JSON in the log, values of the annotated types at the call.

Each parameter with an annotation that msgspec supports gets a `ParameterType` when its job is registered. A parameter
without an annotation, or with one that msgspec cannot convert to, receives what the log holds. The types of a function
whose annotations are all plain JSON (`str`, `int`, `list[str]` …) are only checked, so a call of it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from inspect import Parameter, Signature
from pathlib import PurePath
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import inspect

from gnomon.domain.secret_references import is_flat, opened, references
from gnomon.durations import Duration
from gnomon.errors import JobError
from gnomon.jobs.annotations import Timespan, label, members_of, resolved, supported
from gnomon.jobs.unknown_fields import unknown_field
from gnomon.safe_text import safe_repr, safe_str

SHOWN = 200
"""Characters of an argument that an error message repeats."""

_EXAMPLES: dict[type, str] = {
    inspect.DateTimeType: '"2026-12-31T18:00:00+01:00"',
    inspect.DateType: '"2026-12-31"',
    inspect.TimeType: '"18:00:00"',
    inspect.DecimalType: '"12.50"',
    inspect.UUIDType: '"7b1f3f0e-6d0a-4c6b-9d59-0c3f5ad2c0a1"',
    inspect.BytesType: '"aGVsbG8=" (base64)',
    inspect.ByteArrayType: '"aGVsbG8=" (base64)',
}


class ParameterType:
    """The type that the annotation of a parameter asks for. `converts` is false where JSON is that type already."""

    def __init__(self, annotation: Any, default: Any = Parameter.empty) -> None:
        self.annotation = annotation
        self.default = default
        self.label = label(annotation)
        self.members = members_of(annotation)
        self._infos = tuple(inspect.type_info(member) for member in self.members)
        self._plain = frozenset(kind for info in self._infos if (kind := _json_class(info)) is not None)
        self.converts = not all(map(_is_json, self._infos))

    def convert(self, value: Any) -> Any:
        """Return an argument from the log as the function expects it; ValueError where it does not fit.

        The default of the parameter may always be given, whatever the annotation says. Of a union that msgspec cannot
        tell apart, such as `date | str`, the JSON types come first: text stays text.
        """
        if type(value) is type(self.default) and value == self.default:
            return value
        if len(self.members) == 1:
            return _converted(value, self.members[0])
        if type(value) in self._plain:
            return value
        problems = []
        for member in self.members:
            try:
                return _converted(value, member)
            except ValueError as exc:
                problems.append(str(exc))
        raise ValueError("; ".join(dict.fromkeys(problems)))

    def problem(self, value: Any) -> str | None:
        """Return why an argument does not fit, or None."""
        try:
            self.convert(value)
        except Exception as exc:  # noqa: BLE001 - the methods of a class may raise anything, such as __post_init__
            return f"expected {self.label}{self._example()}, got {safe_repr(value, SHOWN)}: {_sentence(exc)}"
        if self.converts and len(self._infos) == 1 and (found := unknown_field(self._infos[0], value)) is not None:
            return f"expected {self.label}: {found}"
        return None

    def _example(self) -> str:
        """Return how JSON writes the type, where that is not obvious."""
        kinds = [type(info) for info in self._infos] + [
            type(one) for info in self._infos if isinstance(info, inspect.UnionType) for one in info.types
        ]
        found = next((_EXAMPLES[kind] for kind in kinds if kind in _EXAMPLES), None)
        if found is None and any(member in {timedelta, Timespan} for member in self.members):
            found = '"5m"'
        return f" such as {found}" if found else ""


class ArgumentTypes:
    """The types of a function's parameters, as far as its annotations have some."""

    def __init__(self, positional: list[ParameterType | None], named: Mapping[str, ParameterType]) -> None:
        self._positional = positional
        self._named = named
        self._more_positional: ParameterType | None = None
        self._more_named: ParameterType | None = None

    @classmethod
    def of(cls, func: Callable[..., Any], signature: Signature, context_parameter: str | None) -> ArgumentTypes | None:
        """Return the types of a function's parameters; None where no parameter has one."""
        positional: list[ParameterType | None] = []
        found = cls(positional, named := {})
        for name, parameter in signature.parameters.items():
            if name == context_parameter:
                continue  # the kernel gives it
            annotation = resolved(func, parameter.annotation)
            own = ParameterType(annotation, parameter.default) if supported(annotation) else None
            if parameter.kind is Parameter.VAR_POSITIONAL:
                found._more_positional = own
            elif parameter.kind is Parameter.VAR_KEYWORD:
                found._more_named = own
            else:
                if parameter.kind is not Parameter.KEYWORD_ONLY:
                    positional.append(own)
                if own is not None and parameter.kind is not Parameter.POSITIONAL_ONLY:
                    named[name] = own
        has_types = any(positional) or named or found._more_positional or found._more_named
        return found if has_types else None

    @property
    def converts(self) -> bool:
        """Whether any argument of a call may have to be converted."""
        rest = (self._more_positional, self._more_named)
        return any(one is not None and one.converts for one in (*self._positional, *self._named.values(), *rest))

    def at(self, position: int) -> ParameterType | None:
        """Return the type of a positional argument, without counting the context."""
        return self._positional[position] if position < len(self._positional) else self._more_positional

    def named(self, name: str) -> ParameterType | None:
        """Return the type of a named argument."""
        return self._named.get(name, self._more_named)

    def converted(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call in the types of the function; JobError names one that does not fit."""
        positional, named = list(args), dict(kwargs)
        for place, key, own in self._typed(args, kwargs):
            if own.converts:
                target: Any = positional if isinstance(key, int) else named
                try:
                    target[key] = own.convert(target[key])
                except (ValueError, TypeError) as exc:
                    raise JobError(
                        f"the argument {place} does not fit: expected {own.label}: {_sentence(exc)}"
                    ) from exc
        return positional, named

    def kept(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return arguments with JSON in place of the values from which the annotations read the same values back."""
        if is_flat(args) and is_flat(kwargs):
            return args, kwargs
        positional, named = list(args), dict(kwargs)
        for _, key, own in self._typed(args, kwargs):
            if own.converts:
                target: Any = positional if isinstance(key, int) else named
                target[key] = _kept(own, target[key])
        return positional, named

    def problems(self, args: list[Any], kwargs: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the place of each argument from the log that does not fit, such as `kwargs.day`, and the reason.

        What refers to a secret is left out: its text is known when the body is called.
        """
        for place, key, own in self._typed(args, kwargs):
            value = args[key] if isinstance(key, int) else kwargs[key]
            if type(value) in {dict, list}:
                if any(references([value], "")):
                    continue
                value = opened(value, "", lambda _place, _reference: "")
            if (problem := own.problem(value)) is not None:
                yield place, problem

    def _typed(self, args: list[Any], kwargs: dict[str, Any]) -> Iterator[tuple[str, int | str, ParameterType]]:
        for i in range(len(args)):
            if (own := self.at(i)) is not None:
                yield f"args[{i}]", i, own
        for name in kwargs:
            if (own := self.named(name)) is not None:
                yield f"kwargs.{name}", name, own


def plain(value: Any) -> Any:
    """Return a value as the JSON that the log keeps: text for a date or a Path, a list for a set, and so on.

    TypeError for a value that JSON cannot hold.
    """
    if isinstance(value, timedelta) and value >= timedelta(0):
        return str(Duration.parse(value))
    # Sorted, since the order of a set differs from process to process, and the definition of its job would with it.
    built = msgspec.to_builtins(value, enc_hook=_encode, order="deterministic", str_keys=True)
    return msgspec.json.decode(msgspec.json.encode(built))


def _kept(own: ParameterType, value: Any) -> Any:
    try:
        written = plain(value)
        if written != value or type(written) is not type(value):
            read = own.convert(written)
            return written if isinstance(value, type(read)) and bool(read == value) else value
    except (TypeError, ValueError, NotImplementedError, RecursionError):
        pass  # the check of what the log can hold names it
    return value


def _converted(value: Any, expected: Any) -> Any:
    return msgspec.convert(value, expected, dec_hook=_decode, str_keys=True)  # JSON has no other keys


def _decode(expected: type, value: Any) -> Any:
    if expected is Timespan:
        return _span(value)
    if expected is Duration:
        return Duration.parse(value)
    if isinstance(value, expected):
        return value
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    try:
        return expected(value)
    except (OSError, LookupError) as exc:  # a time zone that is not known
        raise ValueError(safe_str(exc).strip("'\"")) from exc


def _span(value: Any) -> timedelta:
    if isinstance(value, str) and value.lstrip("+-").startswith("P"):
        return msgspec.convert(value, timedelta)
    parsed = Duration.parse(value)
    return timedelta(parsed.days, parsed.seconds, parsed.microseconds)


def _encode(value: Any) -> Any:
    if isinstance(value, PurePath | Duration | ZoneInfo):
        return str(value)
    raise NotImplementedError


def _sentence(exc: Exception) -> str:
    text = safe_str(exc)
    return text[:1].lower() + text[1:]


_CLASSES: dict[type, type] = {
    inspect.StrType: str, inspect.IntType: int, inspect.FloatType: float, inspect.BoolType: bool,
    inspect.NoneType: type(None), inspect.ListType: list, inspect.DictType: dict,
}  # fmt: skip


def _json_class(info: inspect.Type) -> type | None:
    return _CLASSES.get(type(info)) if _is_json(info) else None


def _is_json(info: inspect.Type) -> bool:
    """Return whether a value of the type is the same as its JSON."""
    match info:
        case inspect.UnionType():
            return all(map(_is_json, info.types))
        case inspect.ListType():
            return _is_json(info.item_type)
        case inspect.DictType():
            return isinstance(info.key_type, inspect.StrType | inspect.AnyType) and _is_json(info.value_type)
        case inspect.TypedDictType():
            return all(_is_json(field.type) for field in info.fields)
    plain_types = (
        inspect.AnyType, inspect.NoneType, inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.StrType,
        inspect.LiteralType,
    )  # fmt: skip
    return isinstance(info, plain_types)
