"""Twenty kinds of callables, each of which returns its own name when its code has really run."""

import asyncio
import functools
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

Function = Callable[..., Any]


def plain() -> str:
    return "plain"


async def coroutine() -> str:
    await asyncio.sleep(0)
    return "coroutine"


def counted(func: Function) -> Function:
    @functools.wraps(func)
    def wrapper() -> str:
        return f"counted {func()}"

    return wrapper


def awaited(func: Function) -> Function:
    @functools.wraps(func)
    async def wrapper() -> str:
        return f"awaited {await func()}"

    return wrapper


def passed_on(func: Function) -> Function:
    @functools.wraps(func)
    def wrapper() -> Any:
        return func()

    return wrapper


@counted
def decorated() -> str:
    return "decorated"


@awaited
async def decorated_coroutine() -> str:
    return "decorated coroutine"


@passed_on
async def sync_wrapper_of_a_coroutine() -> str:
    await asyncio.sleep(0)
    return "sync wrapper of a coroutine"


def undecorated() -> str:
    return "undecorated"


hidden_by_a_wrapper = undecorated
undecorated = counted(undecorated)


class Base:
    @classmethod
    def class_method(cls) -> str:
        return f"class method of {cls.__name__}"

    @staticmethod
    def static_method() -> str:
        return "static method"

    def method(self) -> str:
        return f"method of {type(self).__name__}"

    async def async_method(self) -> str:
        return f"async method of {type(self).__name__}"


class Derived(Base):
    pass


class WithCall:
    def __call__(self) -> str:
        return "instance"


class WithAsyncCall:
    async def __call__(self) -> str:
        return "async instance"


class Constructed:
    def __init__(self) -> None:
        self.name = "constructed"

    def __repr__(self) -> str:
        return self.name


derived = Derived()
instance = WithCall()
async_instance = WithAsyncCall()
partial = functools.partial(str, "partial")
async_partial = functools.partial(coroutine)
anonymous = lambda: "lambda"  # noqa: E731 - a lambda is one of the kinds
anonymous_coroutine = lambda: coroutine()  # noqa: E731, PLW0108 - as above


@types.coroutine
def generator_coroutine() -> Generator[Any, Any, str]:
    yield from asyncio.sleep(0).__await__()
    return "generator coroutine"


class Awaits:
    def __await__(self) -> Generator[Any, Any, str]:
        yield from asyncio.sleep(0).__await__()
        return "awaitable"


def returns_an_awaitable() -> Awaitable[str]:
    return Awaits()


async def returns_a_task() -> Any:
    return asyncio.get_running_loop().create_task(coroutine())


async def returns_a_coroutine() -> Any:
    return coroutine()


def generator() -> Iterator[str]:
    yield "generator"


async def async_generator() -> AsyncIterator[str]:
    yield "async generator"


def returns_a_generator() -> Iterator[str]:
    return generator()


def returns_a_map() -> Iterator[str]:
    return map(str, [1])
