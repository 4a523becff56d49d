"""Listens on a Unix socket for as long as it is open, also where the file at its path is removed.

Programs that clean up folders remove the file of a socket that is in use. Nobody would reach the kernel any more,
although it leads, so the file is looked at every second and made again. Where something else is in its place, that
stays, `problem` names it, and the socket is made once it is gone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from gnomon.files import file_identity
from gnomon.forks import closed_in_children
from gnomon.logs import get_logger
from gnomon.tasks import end, protected

log = get_logger("gnomon.orders")

LOOK_S = 1.0
"""Pause between two looks at the file, and between two tries to accept where no file descriptor is free."""
BACKLOG = 1024
"""Connections that wait to be accepted. Where there are more, senders try again."""


Bind = Callable[[], socket.socket]


class Listener:
    """Passes connections at a path to `accepted`; `bind` makes the socket.

    `problem` says why nobody can connect, and may be read in any thread.
    """

    def __init__(
        self, path: Path, bind: Callable[[], socket.socket], accepted: Callable[[socket.socket], None]
    ) -> None:
        self.problem: str | None = None
        self._path = path
        self._bind = bind
        self._accepted = accepted
        self._identity: tuple[int, int] | None = None
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._resources = ExitStack()

    def open(self) -> None:
        """Listen, and remain in place until `close`; log a warning where that is not possible."""
        try:
            self._listen()
        except OSError as exc:
            self.problem = self._obstacle(exc)
            log.warning(
                "no socket for orders: commands and other processes cannot reach this kernel",
                path=str(self._path),
                problem=self.problem or str(exc),
            )
        self._keeping = protected(self._keep(), "socket for orders")

    async def close(self) -> None:
        """Accept no more connections, and remove the socket; those that were accepted go on."""
        if self._keeping is not None:
            end(self._keeping)
            await asyncio.wait((self._keeping,))
        if self._identity is not None and file_identity(self._path) == self._identity:
            self._path.unlink(missing_ok=True)  # else it is that of a kernel whose log is now at this path
        await self._leave()

    def _listen(self) -> None:
        self._socket = self._bind()
        self._identity = file_identity(self._path)
        self._resources.enter_context(closed_in_children(self._socket.fileno()))
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)
        self._accepting = protected(self._accept(self._socket), "orders")

    async def _leave(self) -> None:
        if self._accepting is not None:
            end(self._accepting)
            await asyncio.wait((self._accepting,))
        self._resources.close()
        if self._socket is not None:
            self._socket.close()
        self._identity = self._socket = self._accepting = None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            found = file_identity(self._path)
            if found is not None and found == self._identity:
                continue
            if self._identity is not None:
                log.warning("the socket for orders was removed or replaced", path=str(self._path))
                await self._leave()
            try:
                self._listen()  # refused where anything is in its place
            except OSError as exc:
                self.problem = self._obstacle(exc)
            else:
                self.problem = None
                log.info("the socket for orders is there again", path=str(self._path))

    def _obstacle(self, exc: OSError) -> str | None:
        """Return what is in the place of the socket, None where the folder does not allow one."""
        if self._path.is_socket():
            return f"another process listens at {self._path}, so orders do not reach this kernel"
        if os.path.lexists(self._path):
            return f"{self._path} is not a socket, so orders do not reach this kernel: remove it"
        if exc.errno in {errno.EMFILE, errno.ENFILE, errno.ENOSPC}:
            return f"{self._path} cannot be made, so orders do not reach this kernel: {exc.strerror}"
        return None

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        is_full = False
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except ConnectionAbortedError:  # the sender has gone
                continue
            except OSError as exc:
                if not is_full:
                    log.warning("orders wait: no connection can be accepted", problem=str(exc))
                is_full, self.problem = True, f"orders wait, because no connection can be accepted: {exc.strerror}"
                await asyncio.sleep(LOOK_S)
                continue
            if is_full:
                is_full, self.problem = False, None
            self._accepted(connection)
