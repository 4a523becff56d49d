"""Bodies that try to end the kernel from their tasks and callbacks, or through the event loop."""

import asyncio
import functools
import gc
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NoReturn

Ending = Callable[[], BaseException]
ENDINGS: dict[str, Ending] = {"exit": lambda: SystemExit(3), "interrupt": KeyboardInterrupt}


def throw(make: Ending) -> NoReturn:
    raise make()


async def soon(make: Ending) -> None:
    await asyncio.sleep(0)
    throw(make)


async def some_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def wait_for(make: Ending) -> None:
    await asyncio.wait_for(soon(make), 60)


async def task(make: Ending) -> None:
    await asyncio.create_task(soon(make))


async def gather(make: Ending) -> None:
    await asyncio.gather(soon(make), some_turns())


async def group(make: Ending) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(soon(make))
        tasks.create_task(asyncio.sleep(60))


async def nested_group(make: Ending) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(group(make))


AWAITED = {each.__name__: each for each in (wait_for, task, gather, group, nested_group)}
"""The body receives what its task has raised, so its run has failed."""


async def call_soon(make: Ending) -> None:
    asyncio.get_running_loop().call_soon(throw, make)
    await some_turns()


async def call_later(make: Ending) -> None:
    asyncio.get_running_loop().call_later(0, throw, make)
    await some_turns()


async def call_soon_threadsafe(make: Ending) -> None:
    asyncio.get_running_loop().call_soon_threadsafe(throw, make)
    await some_turns()


async def future_callback(make: Ending) -> None:
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: throw(make))
    future.set_result(None)
    await some_turns()


async def reader(make: Ending) -> None:
    loop, (here, there) = asyncio.get_running_loop(), socket.socketpair()
    is_called = loop.create_future()

    def read() -> NoReturn:
        loop.remove_reader(here)
        is_called.set_result(None)
        throw(make)

    with here, there:
        loop.add_reader(here, read)
        there.send(b"x")
        await is_called


async def protocol(make: Ending) -> None:
    loop, (here, there) = asyncio.get_running_loop(), socket.socketpair()
    is_called = loop.create_future()

    class Ends(asyncio.Protocol):
        def data_received(self, data: bytes) -> NoReturn:
            is_called.set_result(data)
            throw(make)

    here.setblocking(False)
    transport, _ = await loop.create_connection(Ends, sock=here)
    with there:
        there.send(b"x")
        await is_called
    transport.abort()


async def finalizer(make: Ending) -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            throw(make)

    async for _ in numbers():
        break
    gc.collect()
    await some_turns()


async def forgotten_task(make: Ending) -> None:
    KEPT.append(asyncio.create_task(soon(make)))
    await some_turns()


async def task_that_outlives_the_run(make: Ending) -> None:
    KEPT.append(asyncio.create_task(soon(make)))


KEPT: list[asyncio.Task[None]] = []
FORGOTTEN = {
    each.__name__: each
    for each in (
        call_soon,
        call_later,
        call_soon_threadsafe,
        future_callback,
        reader,
        protocol,
        finalizer,
        forgotten_task,
        task_that_outlives_the_run,
    )
}
"""Nobody awaits what raises, so the run has succeeded, as after any other exception in such a place."""


def _define(name: str, body: Callable[[Ending], Coroutine[Any, Any, None]], make: Ending) -> None:
    async def function() -> None:
        await body(make)

    function.__name__ = function.__qualname__ = name
    setattr(sys.modules[__name__], name, function)


for _ending, _make in ENDINGS.items():
    for _name, _body in (AWAITED | FORGOTTEN).items():
        _define(f"{_name}_{_ending}", _body, _make)


async def cancels_all_other_tasks() -> None:
    """Cancel what the event loop knows, except the tasks of the program in which the kernel is embedded."""
    for other in asyncio.all_tasks():
        if other is not asyncio.current_task() and not is_of_the_program(other):
            other.cancel()
    await some_turns()


async def cancels_all_tasks_later() -> None:
    asyncio.get_running_loop().call_later(0, functools.partial(asyncio.create_task, cancels_all_other_tasks()))
    await asyncio.sleep(60)


def is_of_the_program(task: asyncio.Task[Any]) -> bool:
    return type(task) is asyncio.Task


async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()


async def closes_the_loop() -> None:
    asyncio.get_running_loop().close()


async def sets_a_task_factory() -> None:
    asyncio.get_running_loop().set_task_factory(lambda *_, **__: throw(MemoryError))


async def sets_an_exception_handler() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: throw(SystemExit))


async def shuts_the_default_executor_down() -> None:
    await asyncio.get_running_loop().shutdown_default_executor()


async def shuts_generators_down() -> None:
    await asyncio.get_running_loop().shutdown_asyncgens()


REFUSED = (
    stops_the_loop,
    closes_the_loop,
    sets_a_task_factory,
    sets_an_exception_handler,
    shuts_the_default_executor_down,
    shuts_generators_down,
)
