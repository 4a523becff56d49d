"""Errors of orders come back as what they were: class, text, attributes, and the problems of single entries."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

import gnomon
import gnomon_mongo
import gnomon_redis
import gnomon_sqlite
import gnomon_web
from gnomon.domain.orders import OrderError
from gnomon.errors import GnomonError, JobError, JobKeysError, StoreUnavailableError, UnknownJobError
from gnomon.orders.order_errors import read_error, written_error


def classes() -> list[type[GnomonError]]:
    for package in (gnomon, gnomon_mongo, gnomon_redis, gnomon_sqlite, gnomon_web):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                with suppress(ImportError):  # of an extra that is not installed
                    importlib.import_module(module.name)
    return sorted({GnomonError, *below(GnomonError)}, key=lambda one: (one.__module__, one.__qualname__))


def below(root: type[GnomonError]) -> Iterator[type[GnomonError]]:
    for one in root.__subclasses__():
        if one.__module__.startswith("gnomon"):
            yield one
            yield from below(one)


SAMPLES: dict[str, Any] = {
    "str": "naïve 'text'",
    "int": 7,
    "float": 1.5,
    "bool": True,
    "object": "path",
    "Document": {"_id": 3, "type": "job_paused", "stream": "job:x"},
    "timedelta": timedelta(seconds=3),
    "list[str]": ["a", "b"],
    "Sequence[str]": ["a", "b"],
    "list[tuple[str, str]]": [("cron", "is wrong"), ("", "is missing")],
    "dict[int, GnomonError]": {0: UnknownJobError("x", "; y"), 3: JobKeysError("z", [("cron", "is wrong")])},
}


def an_error(kind: type[GnomonError]) -> GnomonError:
    """Return an error of a class, with a value for each parameter that it needs."""
    if kind.__init__ is Exception.__init__ or "__init__" not in {
        name for one in kind.__mro__[:-3] for name in vars(one)
    }:
        return kind("what was found, and what to do")
    given = []
    for one in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        if one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty:
            text = one.annotation if isinstance(one.annotation, str) else one.annotation.__name__
            given.append(SAMPLES.get(text.removesuffix(" | None"), "value"))
    return kind(*given)


def crossed(exc: Exception) -> Exception:
    return read_error(msgspec.json.decode(msgspec.json.encode(written_error(exc)), type=OrderError))


def as_data(exc: BaseException) -> Any:
    facts = {name: as_facts(value) for name, value in vars(exc).items()}
    return type(exc), str(exc), facts


def as_facts(value: Any) -> Any:
    return {key: as_data(one) for key, one in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__qualname__)
def test_an_error_comes_back_as_it_was_raised(kind: type[GnomonError]) -> None:
    exc = an_error(kind)

    found = crossed(exc)

    assert as_data(found) == as_data(exc)
    assert found.args == (str(exc),)


@pytest.mark.parametrize("exc", [ValueError("the cursor is not valid"), TypeError("expected a text")])
def test_other_errors_that_the_methods_raise_come_back(exc: Exception) -> None:
    assert as_data(crossed(exc)) == as_data(exc)


def test_an_error_of_a_class_that_is_not_known_here_has_the_nearest_one_that_is() -> None:
    error = OrderError(["their_store.Busy", "gnomon.errors.StoreUnavailableError", "gnomon.errors.GnomonError"], "busy")

    assert as_data(read_error(error)) == (StoreUnavailableError, "busy", {})
    assert as_data(read_error(OrderError(["their_store.Busy"], "busy"))) == (GnomonError, "busy", {})


def test_a_class_of_the_same_name_elsewhere_is_another_one() -> None:
    class UnknownJobError(GnomonError):
        pass

    found = crossed(gnomon.UnknownJobError("x"))

    assert type(found) is gnomon.UnknownJobError
    assert UnknownJobError.__name__ == type(found).__name__


@pytest.mark.parametrize("name", ["os.system", "builtins.SystemExit", "builtins.eval", "importlib.import_module", ""])
def test_nothing_but_an_error_of_ours_is_made_of_a_name(name: str) -> None:
    assert type(read_error(OrderError([name], "text"))) is GnomonError


def test_attributes_that_json_cannot_hold_are_left_out() -> None:
    exc = JobError("text")
    exc.key = "cron"
    exc.lock = object()  # type: ignore[attr-defined]

    assert as_data(crossed(exc)) == (JobError, "text", {"key": "cron"})


def test_any_other_failure_is_logged_where_it_happened_and_named() -> None:
    with capture_logs() as logged:
        found = crossed(KeyError("x"))

    assert type(found) is GnomonError
    assert str(found) == "the kernel that leads failed: KeyError: 'x'"
    assert "KeyError" in logged[0]["exception"]


def test_every_class_of_ours_is_tried() -> None:
    assert {"QueueFullError", "ConfigError", "NoLeaderError"} <= {one.__name__ for one in classes()}
