"""Orders through a Unix socket beside the log, for processes of one machine.

Only the socket's owner can open it. Where other users may write its folder, one of them could listen there instead, so
it is in the runtime folder of the user then. Each connection carries one order and one answer:

    sender                          leader
    order ────────────────────────►
          ◄──────────────────────── empty frame: the order was received, and is carried out from now on
          ◄──────────────────────── empty frames every SIGN_OF_LIFE_S: it is still in work
          ◄──────────────────────── answer

A frame is JSON with its length before it, as four bytes. An order without the first empty frame was never carried out
and never will be, so the sender looks for another leader; one without an answer may have been. Where a sender goes
away, its order is withdrawn if it waits, and otherwise carried out.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.orders import Answer, Order
from gnomon.errors import GnomonError, NoLeaderError, OrderLostError
from gnomon.files import other_writers
from gnomon.forks import closed_in_children
from gnomon.json_depth import MAX_DEPTH
from gnomon.logs import get_logger
from gnomon.orders.announced_files import AnnouncedFiles
from gnomon.orders.listener import Listener
from gnomon.orders.order_errors import written_error
from gnomon.orders.socket_peer import expect_own_kernel, is_stopped, peer_of, problem_of_sender
from gnomon.ports import OrderChannel
from gnomon.tasks import end, protected

log = get_logger("gnomon.orders")

MAX_PATH_BYTES = 100
"""Length of a socket's path that every system accepts (the limit is 104 on macOS, 108 on Linux)."""
MAX_ORDER_BYTES = 256 * 1024 * 1024
"""10,000 runs with 25 KiB of arguments each. An answer has no limit: it comes from the kernel's own user."""
SIGN_OF_LIFE_S = 5.0
SILENCE_LIMIT_S = 30.0
"""Time without a sign of life after which a kernel counts as hung; otherwise an order waits as long as it takes."""
LOOK_S = 2.0
"""Pause between two looks at a kernel that has not acknowledged an order: a process that is stopped never will."""
RETRY_S = 0.05
"""Pause between two tries to reach a kernel that leads."""
STOP_LIMIT_S = 5.0
"""Time in which a kernel that stops finishes the orders that it has received."""

_HAS_PROC = sys.platform == "linux"
_LENGTH = struct.Struct(">I")
_NOTHING = _LENGTH.pack(0)
_orders = msgspec.json.Decoder(Order)
_answers = msgspec.json.Decoder(Answer)

Handler = Callable[[Order], Awaitable[Answer]]
FindLeader = Callable[[], str | None]


class SocketChannel(OrderChannel):
    """The channel of a log on this machine, whose file is `log`: its socket has the name of that file, and `.sock`.

    `leader` returns the name of the process that holds the log, for errors. A kernel works without its socket: if it
    cannot listen, a warning is logged.
    """

    def __init__(self, log: Path, leader: FindLeader = lambda: None) -> None:
        self.path = socket_path(log)
        self._announced = AnnouncedFiles(self.path)
        self._leader = leader
        self._listener: Listener | None = None

    @property
    def problem(self) -> str | None:
        listener = self._listener  # read once: another thread may ask
        return listener.problem if listener is not None else None

    async def submit(self, order: Order, limit_s: float) -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while (answer := await self._try_once(order)) is None:
            left = deadline - loop.time()
            if left <= 0:
                raise NoLeaderError(f"nothing listens at {self.path}", self._leader())
            await asyncio.sleep(min(RETRY_S, left))
        return answer

    async def announce(self, member: KernelMember) -> None:
        self._announced.write(member)

    async def retract(self, member_id: str) -> None:
        self._announced.remove(member_id)

    async def announced(self) -> list[KernelMember]:
        return self._announced.read()

    async def _try_once(self, order: Order) -> Answer | None:
        """Return the answer of the kernel that listens; None where none does, or it ended before it got the order."""
        try:
            with _address(self.path) as address:
                reader, writer = await asyncio.open_unix_connection(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as exc:
            raise GnomonError(f"the kernel at {self.path} cannot be reached: {exc}") from exc
        try:
            expect_own_kernel(writer.get_extra_info("socket"), self.path)
            return await _exchange(reader, writer, order, self.path, self._leader)
        finally:
            writer.close()

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[None]:
        process, server = os.getpid(), _Server(handler)
        with suppress(OSError):
            _remove_stale(self.path)
        self._listener = listener = Listener(self.path, partial(_bind, self.path), server.accept)
        listener.open()
        try:
            yield
        finally:
            if os.getpid() == process:  # else the socket is that of the parent
                self._listener = None
                await listener.close()
                await server.stop()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: Order, path: Path, leader: FindLeader
) -> Answer | None:
    """Send an order and return its answer, None where it was not received; OrderLostError where no answer comes."""
    try:
        writer.write(_frame(msgspec.json.encode(order)))
        first = await _acknowledgement(reader, writer, path, leader)
    except (OSError, EOFError):
        return None
    if first:
        return _answers.decode(first)  # the order was refused
    lost = f"the kernel at {path} received the order {order.call!r} and"
    try:
        while not (answer := await _read_frame(reader)):
            pass
    except TimeoutError:
        raise OrderLostError(f"{lost} has been silent for {SILENCE_LIMIT_S:g} s") from None
    except (OSError, EOFError):
        raise OrderLostError(f"{lost} ended before it had answered") from None
    return _answers.decode(answer)


async def _acknowledgement(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: Path, leader: FindLeader
) -> bytes:
    connection = writer.get_extra_info("socket")
    reading = asyncio.ensure_future(_read_frame(reader))
    try:
        while not (await asyncio.wait((reading,), timeout=LOOK_S))[0]:
            if is_stopped(peer_of(connection)):
                return await _withdrawn(reading, connection, f"the kernel at {path} is stopped (SIGSTOP)", leader)
        return reading.result()
    except TimeoutError:
        silent = f"the kernel at {path} has been silent for {SILENCE_LIMIT_S:g} s"
        if not _HAS_PROC:
            raise OrderLostError(silent) from None
        return await _withdrawn(_read_frame(reader), connection, silent, leader)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _withdrawn(reading: Awaitable[bytes], connection: socket.socket, problem: str, leader: FindLeader) -> bytes:
    """Withdraw an order from a kernel that hangs; NoLeaderError unless it has acknowledged or answered it before.

    It may read the order later. On Linux it cannot acknowledge it from here on, so it drops it.
    """
    connection.shutdown(socket.SHUT_RD)
    try:
        return await reading
    except (OSError, EOFError):
        raise NoLeaderError(problem, leader()) from None


def _frame(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SILENCE_LIMIT_S):
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return await reader.readexactly(length)


class _Server:
    """The connections to a kernel that leads."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[asyncio.Task[Any]] = set()
        self._finishing: set[asyncio.Task[Any]] = set()
        """Those whose orders were received and take only as long as the store needs."""

    def accept(self, connection: socket.socket) -> None:
        """Answer one order, in a new task."""
        task = protected(self._begin(connection), "order")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connection)
        except OSError:
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise
        else:
            await self.serve(reader, writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one order."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - see above
        self._connections.add(task)
        connection = writer.get_extra_info("socket")
        try:
            with closed_in_children(connection.fileno()), suppress(OSError, EOFError):
                await self._serve(reader, writer, task)
        except asyncio.CancelledError:  # not raised: Python 3.11 logs handlers that were cancelled as errors
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            self._finishing.discard(task)
            writer.close()

    async def stop(self) -> None:
        """Finish what was received, close everything else."""
        for task in self._connections - self._finishing:
            end(task)
        if finishing := list(self._finishing):
            await asyncio.wait(finishing, timeout=STOP_LIMIT_S)
        left = list(self._connections)
        for task in left:
            end(task)
        await asyncio.gather(*left, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[Any]) -> None:
        problem = problem_of_sender(writer.get_extra_info("socket"))
        order = _refused(problem) if problem is not None else await _read_order(reader)
        if isinstance(order, Answer):
            writer.write(_frame(msgspec.json.encode(order)))
            await _discard(reader)
            return
        writer.write(_NOTHING)
        if writer.transport.is_closing():  # the sender has given up: what it was promised is that nothing is done
            return
        if not order.waits:
            self._finishing.add(task)
        if (answer := await self._handle(order, reader, writer)) is not None:
            writer.write(_frame(msgspec.json.encode(answer)))
            await writer.drain()

    async def _handle(self, order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer | None:
        """Return the answer to an order, None where its sender goes away before."""
        work = asyncio.ensure_future(self._handler(order))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            while not (done := (await asyncio.wait((work, gone), timeout=SIGN_OF_LIFE_S, return_when=_FIRST))[0]):
                writer.write(_NOTHING)
            return work.result() if work in done else None
        finally:
            for one in (work, gone):
                one.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


_FIRST = asyncio.FIRST_COMPLETED


async def _read_order(reader: asyncio.StreamReader) -> Order | Answer:
    """Return an order, or the answer to one that is not valid."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_ORDER_BYTES:
        return _refused(f"the order has {length:,} bytes; at most {MAX_ORDER_BYTES:,} are accepted: divide it")
    try:
        return _orders.decode(await reader.readexactly(length))
    except RecursionError:
        return _refused(f"the order is nested deeper than {MAX_DEPTH} levels")
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        return _refused(f"the order is not valid: {exc}")


async def _discard(reader: asyncio.StreamReader) -> None:
    """Read what a sender still sends, which would not see why its order was refused if the connection were closed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SIGN_OF_LIFE_S):
            while await reader.read(65_536):
                pass


def _refused(problem: str) -> Answer:
    return Answer(error=written_error(GnomonError(problem)))


def socket_path(log: Path) -> Path:
    """Return the path of the socket of a log: beside it, or in the user's runtime folder where others may write."""
    path = log.with_name(f"{log.name}.sock")
    if (_is_short(path) or _HAS_PROC) and not other_writers(path.parent):
        return path
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    return next((folder / f"gnomon-{digest}.sock" for folder in _private_folders()), path)


def _private_folders() -> Iterator[Path]:
    """Yield folders for sockets that no other user can write; on macOS the temporary folder is one."""
    for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if (
            place
            and os.access(place, os.W_OK)
            and Path(place).stat().st_uid == os.geteuid()
            and not other_writers(Path(place))
        ):
            yield Path(place)


def _is_short(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_PATH_BYTES


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield the address of a socket; a path that is too long for one is given relative to its open folder."""
    if _is_short(path):
        yield os.fspath(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _bind(path: Path) -> socket.socket:
    """Return a socket at the path that only its owner can open, from the first moment on and whatever the umask is."""
    if problem := other_writers(path.parent):
        advice = "move the config to another folder, or set XDG_RUNTIME_DIR"
        raise PermissionError(f"{problem}, who could listen there instead: {advice}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(OSError):  # Linux creates the file with this mode; elsewhere the next call but one narrows it
            os.fchmod(listener.fileno(), 0o600)
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a killed kernel; the lock of the store ensures that no other kernel is running."""
    if path.is_socket():
        path.unlink()
