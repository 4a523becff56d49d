"""Checks of the values that a program passes to a method, by the annotations of its parameters.

Without them a value of a wrong type fails somewhere inside, with an error about an attribute that nobody wrote, or
means something else: the letters of a text pass for a list of ids. What an annotation leaves open, such as a job in
any of its forms, is left to the method.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from gnomon.errors import ParameterError
from gnomon.safe_text import safe_repr
from gnomon.text import close_match, is_writable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

SHOWN = 80
"""Characters of a value in a message."""
_ONE_ITEM = (str, bytes, bytearray, Mapping)
"""What can be iterated, and is not a list of anything that a method expects."""
_NAMED = {
    "job_id": "the id of a job",
    "execution_id": "the id of a run",
    "triggered_by": "the id of a run",
    "kwargs": "a mapping such as {'market': 'cn'}",
    "labels": "a mapping such as {'tenant': '7'}",
    "keys": "a mapping such as {'func': 'app:sync', 'cron': '0 18 * * *'}",
}
"""What is expected for parameters with these names, in words."""
_ASKED_FOR = frozenset({"job_id", "execution_id", "triggered_by", "to", "order_id"})
"""Ids that are looked up: one that no log can hold is unknown, as any other that is not there."""
_ASKED_FOR_LISTS = frozenset({"execution_ids", "job_ids", "JobSelection.ids", "RunSelection.ids"})
"""Lists of such ids, also in a Struct. Each other text that no log can hold is refused, wherever it is nested."""
_NAMED_LISTS = {"jobs": "a list of jobs", "orders": "a list of orders", "execution_ids": "a list of ids of runs"}
_LISTS = frozenset({list, tuple, set, frozenset, Iterable, Sequence})
_WORDS: dict[Any, tuple[type | tuple[type, ...], str]] = {
    str: (str, "text"),
    bool: (bool, "True or False"),
    int: (int, "an integer"),
    float: ((int, float), "a number"),
    datetime: (date, "a datetime such as datetime(2026, 12, 1, 18)"),
    date: (date, "a date such as date(2026, 12, 1)"),
    timedelta: (timedelta, "a timedelta such as timedelta(seconds=30)"),
    dict: (Mapping, "a mapping"),
    Mapping: (Mapping, "a mapping"),
}

Rule = Callable[[Any, str], str | None]
"""Returns what is wrong with a value that stands at a place, or None."""


class Parameters:
    """The parameters of a method, and what may be passed for each; `self` and those in `left_out` are not checked.

    The annotations are read at the first call: many of them name what is imported later.
    """

    def __init__(self, method: Callable[..., Any], left_out: Collection[str] = ()) -> None:
        self._method = method
        self._left_out = left_out

    def expect(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise ParameterError for the first value that its parameter cannot have."""
        names, rules = self._rules
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            rule = rules.get(name)
            if rule is not None and (problem := rule(value, name)) is not None:
                raise ParameterError(name, problem)

    @functools.cached_property
    def _rules(self) -> tuple[list[str], dict[str, Rule]]:
        parameters = list(inspect.signature(self._method).parameters.values())[1:]
        hints = get_type_hints(self._method)
        rules = {}
        for one in parameters:
            hint = hints.get(one.name)
            if one.kind in {one.VAR_POSITIONAL, one.VAR_KEYWORD} or (one.name in self._left_out and hint == str | None):
                continue
            if (rule := rule_of(hint, one.name)) is not None:
                rules[one.name] = rule
        positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        return [one.name for one in parameters if one.kind in positional], rules


def checked(method: Callable[P, R]) -> Callable[P, R]:
    """Check what is passed to a method before it is called; ParameterError."""
    parameters = Parameters(method)
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def call_later(*args: P.args, **kwargs: P.kwargs) -> Any:
            parameters.expect(args[1:], kwargs)
            return await method(*args, **kwargs)

        return call_later  # type: ignore[return-value]

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        parameters.expect(args[1:], kwargs)
        return method(*args, **kwargs)

    return call


def checked_methods(kind: type[T]) -> type[T]:
    """Check what is passed to the public methods of a class, and to its constructor; ParameterError."""
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and (name == "__init__" or not name.startswith("_")):
            setattr(kind, name, checked(method))
    return kind


def rule_of(hint: Any, name: str = "") -> Rule | None:
    """Return the rule for values of an annotation, None for one that leaves open what may be passed."""
    origin, members = get_origin(hint), get_args(hint)
    rule: Rule | None = None
    if origin in {Union, UnionType}:
        rule = _optional(rule_of(members[0], name)) if members[1:] == (NoneType,) else None
    elif origin is Literal:
        rule = functools.partial(_of_choices, members)
    elif origin is type:
        rule = functools.partial(_of_class, get_args(members[0]) or members)
    elif origin in _LISTS:
        # The items of lists of jobs and orders are checked by their commands, which report every problem at once.
        item = _item_rule(members[0], name) if not _is_struct(members[0]) else None
        rule = functools.partial(_of_items, origin, item, _NAMED_LISTS.get(name, "a list"))
    elif _is_struct(hint):
        rule = functools.partial(_of_struct, hint)
    elif hint is str and name not in _ASKED_FOR:
        rule = functools.partial(_of_text, _NAMED.get(_last(name), "text"))
    elif (found := _WORDS.get(origin or hint)) is not None:
        rule = functools.partial(_of_type, found[0], _NAMED.get(_last(name), found[1]))
    elif isinstance(hint, type) and inspect.isabstract(hint):
        rule = functools.partial(_of_port, hint)
    return rule


def fields_rule(struct: type[msgspec.Struct]) -> Rule:
    """Return the rule for the fields of a Struct, which msgspec checks only where it decodes one."""
    return functools.partial(_of_struct, struct)


def expect_each(values: Iterable[Any], struct: type[msgspec.Struct], name: str) -> None:
    """Raise ParameterError unless all items of a list are Structs of a kind, with fields of the right types."""
    rule = fields_rule(struct)
    for number, value in enumerate(values):
        if (problem := rule(value, f"{name}[{number}]")) is not None:
            raise ParameterError(name, problem)


def _item_rule(hint: Any, name: str) -> Rule | None:
    if hint is str and name in _ASKED_FOR_LISTS:
        return functools.partial(_of_type, str, "text")
    return rule_of(hint)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _optional(rule: Rule | None) -> Rule | None:
    return None if rule is None else lambda value, place: None if value is None else rule(value, place)


def _of_text(words: str, value: Any, place: str) -> str | None:
    if not isinstance(value, str):
        return _expected(place, words, value)
    return None if is_writable(value) else f"{place}: has half a character (a lone surrogate), which is not text"


def _of_type(types: type | tuple[type, ...], words: str, value: Any, place: str) -> str | None:
    if isinstance(value, types) and (type(value) is not bool or types is bool):
        return None
    return _expected(place, words, value)


def _of_choices(choices: tuple[str, ...], value: Any, place: str) -> str | None:
    if isinstance(value, str) and value in choices:
        return None
    hint = close_match(value, choices) if isinstance(value, str) else ""
    return _expected(place, f"one of {', '.join(map(repr, choices))}", value) + hint


def _of_class(classes: tuple[type, ...], value: Any, place: str) -> str | None:
    if isinstance(value, type) and issubclass(value, classes):
        return None
    return _expected(place, f"one of the classes {', '.join(one.__name__ for one in classes)}", value)


def _of_port(port: type, value: Any, place: str) -> str | None:
    if isinstance(value, type):
        return f"{_expected(place, f'a {port.__name__}', value)}; make one of the class: {value.__name__}(...)"
    if any(hasattr(value, name) for name in port.__abstractmethods__):  # type: ignore[attr-defined]
        return None
    return f"{_expected(place, f'a {port.__name__}', value)}; {port.__module__} documents what it does"


def _of_items(kind: Any, item: Rule | None, words: str, value: Any, place: str) -> str | None:
    is_listed = isinstance(value, Iterable if kind is Iterable else Collection)
    if not is_listed or isinstance(value, _ONE_ITEM):
        hint = "" if value is None else "; write [...] around a single one"
        return f"{_expected(place, words, value)}{hint}"
    if item is None or not isinstance(value, Collection):  # an iterator, which only its reader may move
        return None
    return next((problem for n, one in enumerate(value) if (problem := item(one, f"{place}[{n}]")) is not None), None)


def _of_struct(struct: type[msgspec.Struct], value: Any, place: str) -> str | None:
    if not isinstance(value, struct):
        return _expected(
            place, f"a {struct.__name__}, such as {struct.__name__}({struct.__struct_fields__[0]}=...)", value
        )
    for name, rule in _field_rules(struct).items():
        if (problem := rule(getattr(value, name), f"{place}.{name}" if place else name)) is not None:
            return problem
    return None


@functools.cache
def _field_rules(struct: type[msgspec.Struct]) -> dict[str, Rule]:
    hints = get_type_hints(struct, vars(sys.modules[struct.__module__]))
    found = {name: rule_of(hints[name], f"{struct.__name__}.{name}") for name in struct.__struct_fields__}
    return {name: rule for name, rule in found.items() if rule is not None}


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _expected(place: str, words: str, value: Any) -> str:
    return f"{place}: expected {words}, got {safe_repr(value, SHOWN)}"
