"""Orders through a Unix socket beside the log, for processes of one machine.

Only the socket's owner can open it. Where other users may write its folder, one of them could listen there instead, so
it is in the runtime folder of the user then. Each connection carries one order and one answer, each a JSON object on
one line.
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
from pathlib import Path
from typing import Any

import msgspec

from gnomon.domain.orders import Answer, Order
from gnomon.errors import GnomonError, NoLeaderError, OrderLostError
from gnomon.files import other_writers
from gnomon.forks import closed_in_children
from gnomon.json_depth import MAX_DEPTH, is_text_too_deep
from gnomon.logs import get_logger
from gnomon.orders.order_errors import written_error
from gnomon.ports import OrderChannel

log = get_logger("gnomon.orders")

MAX_PATH_BYTES = 100
"""Length of a socket's path that every system accepts (the limit is 104 on macOS, 108 on Linux)."""
MAX_LINE_BYTES = 64 * 1024 * 1024
"""An order may have 10,000 entries, and an answer as many runs."""
ANSWER_LIMIT_S = 30.0
"""Time that an order waits for its answer; while the store is unavailable, the kernel waits too."""
RETRY_S = 0.05
"""Pause between two tries to reach a kernel that leads."""

_HAS_PROC = sys.platform == "linux"
_orders = msgspec.json.Decoder(Order)
_answers = msgspec.json.Decoder(Answer)


class SocketChannel(OrderChannel):
    """The channel of a log on this machine, whose file is `log`: its socket has the name of that file, and `.sock`.

    A kernel works without its socket: if it cannot listen, only a warning is logged.
    """

    def __init__(self, log: Path) -> None:
        self.path = socket_path(log)

    async def submit(self, order: Order, limit_s: float) -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while True:
            try:
                with _address(self.path) as address:
                    reader, writer = await asyncio.open_unix_connection(address, limit=MAX_LINE_BYTES)
            except (FileNotFoundError, ConnectionRefusedError):
                if loop.time() >= deadline:
                    raise NoLeaderError(f"nothing listens at {self.path}") from None
                await asyncio.sleep(min(RETRY_S, max(deadline - loop.time(), 0.0)))
                continue
            except OSError as exc:
                raise GnomonError(f"the kernel at {self.path} cannot be reached: {exc}") from exc
            try:
                _expect_own_kernel(writer.get_extra_info("socket"), self.path)
                return await _exchange(reader, writer, order, self.path)
            finally:
                writer.close()

    @asynccontextmanager
    async def serve(self, handler: Callable[[Order], Awaitable[Answer]]) -> AsyncIterator[None]:
        connections: set[asyncio.Task[Any]] = set()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - asyncio calls this in a task
            connections.add(task)
            try:
                await _answer_one(reader, writer, handler)
            finally:
                connections.discard(task)
                writer.close()

        process = os.getpid()
        try:
            listener = _bind(self.path)
            server = await asyncio.start_unix_server(answer, sock=listener, limit=MAX_LINE_BYTES)
        except OSError as exc:
            log.warning("no socket for orders: other processes cannot reach this kernel", problem=str(exc))
            yield
            return
        try:
            with closed_in_children(listener.fileno()):
                yield
        finally:
            if os.getpid() == process:  # else the socket is that of the parent
                self.path.unlink(missing_ok=True)
                server.close()
                for task in connections:
                    task.cancel()
                await server.wait_closed()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: Order, path: Path) -> Answer:
    """Send an order and return its answer; OrderLostError where none comes."""
    lost = f"the kernel that leads received the order {order.call!r} and"
    try:
        writer.write(msgspec.json.encode(order) + b"\n")
        async with asyncio.timeout(None if order.waits else ANSWER_LIMIT_S):
            await writer.drain()
            line = await reader.readline()
    except TimeoutError:
        raise OrderLostError(f"{lost} did not answer within {ANSWER_LIMIT_S:g} s ({path})") from None
    except (OSError, ValueError) as exc:
        raise OrderLostError(f"{lost} closed the connection: {exc}") from exc
    if not line.endswith(b"\n"):
        raise OrderLostError(f"{lost} ended before it had answered")
    return _answers.decode(line)


async def _answer_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Callable[[Order], Awaitable[Answer]]
) -> None:
    with suppress(ConnectionError, ValueError):  # it is gone, or has sent a line that is too long
        refusal = _refusal(writer.get_extra_info("socket"))
        if not (line := await reader.readline()):
            return
        answer = refusal or await _handled(line, handler, reader)
        if answer is not None:
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()


async def _handled(
    line: bytes, handler: Callable[[Order], Awaitable[Answer]], reader: asyncio.StreamReader
) -> Answer | None:
    """Return the answer to an order, None where its sender goes away before."""
    try:
        if is_text_too_deep(line):
            raise GnomonError(f"the order is nested deeper than {MAX_DEPTH} levels")
        order = _orders.decode(line)
    except RecursionError:  # not valid JSON, or else it would have been refused above
        return Answer(error=written_error(GnomonError("the order is not valid JSON")))
    except (GnomonError, msgspec.MsgspecError) as exc:
        return Answer(error=written_error(GnomonError(str(exc))))
    work = asyncio.ensure_future(handler(order))
    gone = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


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


def _peer_uid(connection: socket.socket) -> int | None:
    """Return the user id of the process at the other end of a Unix socket; None on systems that do not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def _expect_own_kernel(connection: socket.socket, path: Path) -> None:
    """Raise GnomonError if another user listens: it would receive the order, and could answer anything.

    The kernel of the deployment runs as this user, as root, or as the owner of the socket's folder, for whom root may
    act.
    """
    uid, own = _peer_uid(connection), os.geteuid()
    trusted = {0, own, path.parent.stat().st_uid} if own == 0 else {0, own}
    if uid is not None and uid not in trusted:
        raise GnomonError(
            f"the socket {path} belongs to the user with uid {uid}, and you are uid {own}: the command was not sent, "
            "because another user listens there; run it as the user of the kernel, or remove the socket"
        )


def _refusal(connection: Any) -> Answer | None:
    """Return the answer to a process of another user, for which the mode of the socket's file should be a barrier."""
    uid = _peer_uid(connection)
    if uid is None or uid in {0, os.geteuid()}:
        return None
    error = f"orders are for the kernel's own user (uid {os.geteuid()}) and root; this one comes from uid {uid}"
    log.warning("an order of another user was refused", uid=uid)
    return Answer(error=written_error(GnomonError(error)))


def _bind(path: Path) -> socket.socket:
    """Return a socket at the path that only its owner can open, from the first moment on and whatever the umask is."""
    if problem := other_writers(path.parent):
        advice = "move the config to another folder, or set XDG_RUNTIME_DIR"
        raise PermissionError(f"{problem}, who could listen there instead: {advice}")
    _remove_stale(path)
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
