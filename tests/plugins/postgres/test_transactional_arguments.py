"""What is passed to orders in transactions: refused where it is called, before the transaction has seen any of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import orm

import gnomon_postgres
from gnomon import GnomonError, JobError, ParameterError, RunOrder
from gnomon.errors import ActTextError, IdempotencyKeyError, ReservedNameError, RunOrdersError, TriggerError

FUNCTIONS = ("trigger", "trigger_many", "add_job", "remove_job", "cancel", "order_outcome")
NO_CONNECTION: Any = object()
"""Whatever was sent to it would raise a TypeError that speaks of connections."""
VALUES: list[Any] = [
    None, 7, 2.5, float("nan"), float("inf"), True, "text", "\ud800", b"text", ["x"], {"a": 1}, {"x"}, object(), len,
    datetime(2026, 12, 1, tzinfo=UTC), timedelta.max,
]  # fmt: skip
FITTING: dict[str, tuple[type, ...]] = {
    "str": (str,), "bool": (bool,), "Mapping": (dict,), "Sequence": (list, set), "timedelta": (timedelta,),
}  # fmt: skip
"""Types of values that an annotation allows, by how it begins. What is in them is the matter of other tests."""
CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE


class Odd:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError


def checked_parameters(name: str) -> Iterator[inspect.Parameter]:
    parameters = list(inspect.signature(getattr(gnomon_postgres, f"{name}_sync")).parameters.values())
    return (one for one in parameters[1:] if one.kind is not one.VAR_KEYWORD and one.name != "job")


def given(name: str, parameter: str, value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments of a function: the value for one parameter, and valid ones for those that must be given."""
    needed: dict[str, Any] = {"job_id": "send", "execution_id": "0" * 24, "order_id": "x", "orders": []}
    keys = {one.name: needed[one.name] for one in checked_parameters(name) if one.default is one.empty}
    return ("json:dumps",) if name == "add_job" else (), {**keys, parameter: value}


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_every_parameter_refuses_values_of_wrong_types(name: str) -> None:
    blocking, later = getattr(gnomon_postgres, f"{name}_sync"), getattr(gnomon_postgres, name)
    for parameter in checked_parameters(name):
        annotation = str(parameter.annotation)
        fitting = next((types for begin, types in FITTING.items() if annotation.startswith(begin)), ())
        for value in VALUES:
            if type(value) in fitting or (value is None and "None" in annotation):
                continue
            if value == "\ud800" or (annotation == "WhenFull" and value == "wait"):
                continue
            args, kwargs = given(name, parameter.name, value)
            with pytest.raises(ParameterError, match=f"^{parameter.name}: expected ") as caught:
                blocking(NO_CONNECTION, *args, **kwargs)
            with pytest.raises(ParameterError) as same:
                await later(NO_CONNECTION, *args, **kwargs)
            assert str(same.value) == str(caught.value)


@pytest.mark.parametrize(
    ("name", "wrong", "kind", "problem"),
    [
        ("trigger", {"expires_in": 5}, TypeError, r"^expires_in: expected a timedelta .*, got 5$"),
        ("cancel", {"expires_in": timedelta.max}, GnomonError, "^expires_in: expected at most 365,000 days, or None"),
        ("trigger", {"schema": ""}, GnomonError, "^schema: expected a name, got ''"),
        ("trigger", {"schema": "a\0"}, GnomonError, "^schema: expected a name"),
        ("order_outcome", {"schema": "ä" * 32}, GnomonError, "^schema: expected at most 63 bytes, got 'ää"),
        ("trigger", {"when_full": "weit"}, ParameterError, "^when_full: expected one of .*; did you mean 'wait'"),
        ("trigger", {"job_id": ""}, JobError, "^job_id: expected the id of a job, 1 to 128 printable characters, got"),
        ("remove_job", {"job_id": "a" * 129}, JobError, "^job_id: expected the id of a job"),
        ("trigger", {"job_id": "a\0"}, JobError, r"^job_id: expected the id of a job.* got 'a\\x00'"),
        ("trigger", {"job_id": "\ud800"}, JobError, r"^job_id: expected the id of a job.* got '\\ud800'"),
        ("trigger", {"labels": {"a": 7}}, JobError, "^the label .a. has the value 7: expected a text"),
        ("trigger", {"key": ""}, IdempotencyKeyError, "has 1 to 255 characters, got 0"),
        ("remove_job", {"key": "a\nb"}, IdempotencyKeyError, "printable"),
        ("trigger", {"actor": " Kernel "}, ReservedNameError, "is reserved"),
        ("cancel", {"reason": "a" * 10_001}, ActTextError, "^reason: expected at most 10,000 characters, got 10,001"),
        ("add_job", {"id": "a", "owner": ""}, ActTextError, "^owner: expected the name of an owner"),
        ("add_job", {"id": "a", "evry": "5m"}, JobError, "evry"),
        ("add_job", {"id": "a", "every": -5}, GnomonError, "every"),
        ("add_job", {"id": "a", "kwargs": {"x": ["\ud800"]}}, JobError, "job .a.: .*half a character"),
        ("add_job", {"id": "a", "kwargs": {"x": Odd()}}, JobError, r"its arguments must be JSON.*kwargs\['x'\]"),
        ("add_job", {"id": "a", "kwargs": {"x": [float("nan")]}}, JobError, r"kwargs\['x'\]"),
        ("add_job", {"id": "a", "kwargs": CIRCLE}, JobError, "nested deeper than 64 levels"),
        ("add_job", {"id": "a", "cron": "0 4 * *"}, TriggerError, "has 4 fields, not 5"),
        ("add_job", {"id": "a", "every": "1h", "timezone": "Mars/X"}, TriggerError, "unknown time zone 'Mars/X'"),
        ("add_job", {"id": "a b"}, JobError, "job id 'a b' is not valid"),
        ("trigger", {"kwargs": {1: 2}}, JobError, "^kwargs: the key 1 is not text, as all keys in JSON are"),
        ("trigger", {"kwargs": {"a": [{None: 2}]}}, JobError, r"^kwargs\.a\[0\]: the key None is not text"),
        ("trigger", {"kwargs": {"a": {"b": float("nan")}}}, JobError, r"^kwargs\.a\.b: nan is not JSON"),
        ("trigger", {"kwargs": {"a": {1, 2}}}, JobError, r"^kwargs\.a: a set is not JSON"),
        ("trigger", {"kwargs": {"a": [1j]}}, JobError, r": kwargs\.a\[0\]: 1j is of the type complex$"),
        ("trigger", {"kwargs": {"a": Odd()}}, JobError, r": kwargs\.a: .*cannot be shown.* is of the type .*Odd$"),
        ("trigger", {"kwargs": {"a": "\ud800"}}, JobError, r"kwargs\.a: '\\ud800' has half a character"),
        ("trigger", {"kwargs": {"\ud800": 1}}, JobError, r"kwargs: the key: '\\ud800' has half a character"),
        ("trigger", {"kwargs": CIRCLE}, JobError, "nested deeper than 64 levels, or contains itself"),
        ("trigger", {"kwargs": {"a": "x" * 4_194_304}}, JobError, "bytes of arguments, and 4,194,304 are allowed"),
    ],
)  # fmt: skip
def test_values_that_no_kernel_could_accept_are_refused_with_a_sentence(
    name: str, wrong: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    args, kwargs = given(name, *next(iter(wrong.items())))
    with pytest.raises(kind, match=problem):
        getattr(gnomon_postgres, f"{name}_sync")(NO_CONNECTION, *args, **{**kwargs, **wrong})


def test_all_orders_of_a_list_that_are_not_valid_are_named() -> None:
    orders: list[Any] = [RunOrder("a"), "b", RunOrder("c", {"x": object()}), RunOrder("d", idempotency_key="")]
    with pytest.raises(RunOrdersError, match="3 of 4 orders are not valid, so none was accepted: order 1: ") as caught:
        gnomon_postgres.trigger_many_sync(NO_CONNECTION, orders)

    assert {number: type(problem) for number, problem in caught.value.problems.items()} == {
        1: JobError, 2: JobError, 3: IdempotencyKeyError
    }  # fmt: skip
    with pytest.raises(ParameterError, match=r"^orders: expected a list of orders"):
        gnomon_postgres.trigger_many_sync(NO_CONNECTION, RunOrder("a"))  # type: ignore[arg-type]


def test_a_connection_to_another_product_is_refused() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        for wrong in (connection, orm.Session(engine), orm.scoped_session(orm.sessionmaker(engine))):
            with pytest.raises(TypeError, match=r"expected a connection to PostgreSQL, .* to sqlite: an order is"):
                gnomon_postgres.trigger_sync(wrong, "send")
