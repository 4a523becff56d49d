"""Bodies that try to hurt the kernel: by what they raise, return, log and report. A child process imports them too."""

# mypy: disable-error-code="override, misc, assignment, list-item"

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from gnomon import current


class OwnBaseException(BaseException):
    pass


class StrRaises(Exception):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error


class ReprRaises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class HostileText(str):
    """Text that pretends to have methods of its own."""

    __slots__ = ()

    def encode(self, *_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    def __len__(self) -> NoReturn:
        raise SystemExit

    def __str__(self) -> NoReturn:
        raise SystemExit

    __format__ = replace = __getitem__ = encode


class HostileMapping(dict[str, Any]):
    def items(self) -> NoReturn:
        raise KeyboardInterrupt

    __iter__ = keys = __len__ = items

    def __repr__(self) -> NoReturn:
        raise SystemExit


class NamelessMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in {"__qualname__", "__name__", "__module__"}:
            raise SystemExit
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=NamelessMeta):
    def __str__(self) -> NoReturn:
        raise GeneratorExit


class Classless:
    @property
    def __class__(self) -> NoReturn:
        raise KeyboardInterrupt


def text_as_message() -> Exception:
    class TextAsMessage(Exception):
        def __str__(self) -> str:
            return HostileText("words")

    return TextAsMessage()


def with_hostile_notes() -> Exception:
    error = ValueError("noted")
    error.__notes__ = [ReprRaises(SystemExit()), HostileText("note")]
    return error


def its_own_cause() -> Exception:
    error = ValueError("circular")
    error.__cause__ = error
    error.__context__ = StrRaises(KeyboardInterrupt())
    return error


def nested(depth: int = 100_000) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def containing_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def recurse() -> NoReturn:
    recurse()


def log_hostile_records() -> None:
    logger = logging.Logger("zoo")  # noqa: LOG001 - not a child of root, whose handlers would print the broken records
    logger.addHandler(logging.NullHandler())
    logger.warning("%s", StrRaises(SystemExit()))
    logger.warning(HostileText("message"))
    logger.warning("%d", "not a number")
    logger.warning("caught", exc_info=StrRaises(KeyboardInterrupt()))
    logger.handle(
        logging.makeLogRecord({"msg": None, "name": None, "levelname": 7, "levelno": 30, "created": float("nan")})
    )


def report_hostile_progress() -> None:
    ctx = current()
    ctx.step(str.__str__("surrogate \udcff and \0"))
    ctx.skip("\udcff")
    ctx.steps("a\udcff", ("b", 1e308))
    ctx.progress(float("inf"), "\udcff", current_item="\0", processed_items=10**400, total_items=-(10**400))
    ctx.progress(1e308, "x" * 1_000_000)


RAISED: dict[str, Callable[[], BaseException]] = {
    "system_exit": lambda: SystemExit(3),
    "keyboard_interrupt": KeyboardInterrupt,
    "generator_exit": GeneratorExit,
    "stop_iteration": lambda: StopIteration(1),
    "stop_async_iteration": StopAsyncIteration,
    "cancelled_error": asyncio.CancelledError,
    "invalid_state": asyncio.InvalidStateError,
    "own_base_exception": OwnBaseException,
    "group_with_interrupt": lambda: BaseExceptionGroup("group", [KeyboardInterrupt(), SystemExit()]),
    "memory_error": MemoryError,
    "str_raises_system_exit": lambda: StrRaises(SystemExit()),
    "str_raises_keyboard_interrupt": lambda: StrRaises(KeyboardInterrupt()),
    "str_raises_generator_exit": lambda: StrRaises(GeneratorExit()),
    "text_as_message": text_as_message,
    "surrogates": lambda: ValueError("\udcff\0" * 10_000),
    "nameless": Nameless,
    "hostile_notes": with_hostile_notes,
    "its_own_cause": its_own_cause,
}
"""What bodies raise: each of these runs has failed."""

RETURNED: dict[str, Callable[[], Any]] = {
    "repr_raises_system_exit": lambda: ReprRaises(SystemExit()),
    "repr_raises_keyboard_interrupt": lambda: ReprRaises(KeyboardInterrupt()),
    "hostile_text": lambda: HostileText("words"),
    "hostile_mapping": lambda: HostileMapping(a=1),
    "nameless": Nameless,
    "classless": Classless,
    "nested": nested,
    "containing_itself": containing_itself,
    "surrogates": lambda: {"\udcff": ["\udcff", "\0"]},
    "not_finite": lambda: [float("nan"), float("inf"), 10**5000],
    "logs": log_hostile_records,
    "progress": report_hostile_progress,
}
"""What bodies return or do: each of these runs has succeeded."""


def _define(name: str, act: Callable[[], Any]) -> None:
    def body() -> Any:
        return act()

    async def at_once() -> Any:
        return act()

    async def later() -> Any:
        await asyncio.sleep(0)
        return act()

    for function, prefix in ((body, "sync"), (at_once, "async"), (later, "later")):
        function.__name__ = function.__qualname__ = f"{prefix}_{name}"
        setattr(sys.modules[__name__], function.__name__, function)


def _raise(make: Callable[[], BaseException]) -> Callable[[], NoReturn]:
    def act() -> NoReturn:
        raise make()

    return act


for _name, _make in RAISED.items():
    _define(f"raises_{_name}", _raise(_make))
for _name, _make in RETURNED.items():
    _define(f"returns_{_name}", _make)
_define("raises_recursion_error", recurse)


async def cancels_its_own_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancels_its_own_task_and_returns() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def swallows_a_cancellation() -> Coroutine[Any, Any, None] | None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(0)
    except BaseException:  # noqa: BLE001 - to swallow it is the point
        return None
    raise AssertionError("not cancelled")
