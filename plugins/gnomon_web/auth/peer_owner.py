"""Which user of this machine a connection comes from: the check of a server that has no tokens.

Linux knows the owner of both ends of a local connection: of a TCP connection in /proc/net/tcp and /proc/net/tcp6, of a
Unix socket by SO_PEERCRED. A socket whose process has closed it has no inode any more, and its row names root as the
owner; such a row proves nothing, so its sender counts as a stranger. Systems without these files (macOS) do not tell:
there every user of the machine may act.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from gnomon_web.auth.roles import LOCAL, Identity

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
UNKNOWN_USER = -1
"""The user id of a peer whose owner is hidden, for example because it has closed its end already."""
_LOCAL_ADDRESS, _REMOTE_ADDRESS, _UID, _INODE = 1, 2, 7, 9
"""Columns of the tables."""


class Row(NamedTuple):
    """A socket in one of the tables."""

    uid: int
    inode: int


def local_identity(request: web.Request) -> Identity:
    """Return who sent a request to a server without tokens: LOCAL for the kernel's own user and root, else a viewer."""
    uid = owner_of_peer(request.transport)
    return LOCAL if uid is None or uid in {0, os.geteuid()} else Identity(f"user {user_name(uid)}", "viewer")


def owner_of_peer(transport: Any, tables: tuple[Path, ...] = TABLES) -> int | None:
    """Return the user id of a connection's other end, UNKNOWN_USER if it is hidden; None if this system has none."""
    end: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
    if end is None:
        return None
    if end.family == getattr(socket, "AF_UNIX", None):
        return _owner_of_unix_peer(end)
    here, there = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    if here is None or there is None:
        return UNKNOWN_USER  # it is gone already
    rows = list(_rows(tables, (here[0], here[1]), (there[0], there[1])))
    if not any(is_ours for is_ours, _ in rows):
        return None  # the tables lack even this server's end of the connection: they tell nothing here
    return next((row.uid for is_ours, row in rows if not is_ours and row.inode), UNKNOWN_USER)


def user_name(uid: int) -> str:
    """Return the name of a user, with the id."""
    if uid == UNKNOWN_USER:
        return "unknown"
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"with uid {uid}"


def _owner_of_unix_peer(end: socket.socket) -> int | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def _rows(tables: tuple[Path, ...], here: tuple[str, int], there: tuple[str, int]) -> Iterator[tuple[bool, Row]]:
    """Yield the rows of both ends of a connection; true marks this server's end."""
    ours, theirs = set(_written(*here)), set(_written(*there))
    for table in tables:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split(maxsplit=_INODE + 1)
            ends = columns[_LOCAL_ADDRESS], columns[_REMOTE_ADDRESS]
            is_ours = ends[0] in ours and ends[1] in theirs
            if is_ours or (ends[0] in theirs and ends[1] in ours):
                yield is_ours, Row(int(columns[_UID]), int(columns[_INODE]))


def _written(address: str, port: int) -> Iterator[str]:
    """Yield an address as the tables have it: 32-bit words in the byte order of the machine. IPv4 may stand in both."""
    parsed = ip_address(address.partition("%")[0])
    forms: list[IPv4Address | IPv6Address] = [parsed]
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        forms.append(parsed.ipv4_mapped)
    elif isinstance(parsed, IPv4Address):
        forms.append(IPv6Address(f"::ffff:{parsed}"))
    for form in forms:
        words = struct.iter_unpack("4s", form.packed)
        text = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for (word,) in words)
        yield f"{text}:{port:04X}"
