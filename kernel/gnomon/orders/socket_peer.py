"""The process at the other end of a Unix socket: whether it may be trusted, and whether it is stopped."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from gnomon.errors import GnomonError
from gnomon.logs import get_logger

log = get_logger("gnomon.orders")

_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """A process; at the other end of a listener's socket, the one that bound it."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer | None:
    """Return the other process; None on systems that do not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return Peer(pid, uid)


def is_stopped(process: Peer | None) -> bool:
    """Return whether a signal or a debugger has stopped a process, as far as this system tells: see proc(5)."""
    if process is None:
        return False
    try:
        status = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] in {"T", "t"}


def expect_own_kernel(connection: socket.socket, path: Path) -> None:
    """Raise GnomonError if another user listens: it would receive the order, and could answer anything.

    The kernel of the deployment runs as this user, as root, or as the owner of the socket's folder, for whom root may
    act.
    """
    peer, own = peer_of(connection), os.geteuid()
    trusted = {0, own, path.parent.stat().st_uid} if own == 0 else {0, own}
    if peer is not None and peer.uid not in trusted:
        raise GnomonError(
            f"the socket {path} belongs to the user with uid {peer.uid}, and you are uid {own}: the order was not "
            "sent, because another user listens there; run it as the user of the kernel, or remove the socket"
        )


def problem_of_sender(connection: socket.socket) -> str | None:
    """Return why no order is accepted from a process of another user, whom the mode of the file should stop."""
    peer = peer_of(connection)
    if peer is None or peer.uid in {0, os.geteuid()}:
        return None
    log.warning("an order of another user was refused", uid=peer.uid)
    return f"orders are for the kernel's own user (uid {os.geteuid()}) and root; this one comes from uid {peer.uid}"
