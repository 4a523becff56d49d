"""The key that signs logins and tickets: 32 random bytes in a file of its owner alone, or `session_key` of the config.

All processes on a log need the same one. Those of one machine share the file, which is made by the first of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from gnomon.conversion import Secret
from gnomon.files import other_writers
from gnomon.logs import get_logger

log = get_logger("gnomon.web")

FILE_NAME = "gnomon-web.key"
KEY_BYTES = 32
LOCK_TRIES, LOCK_RETRY_S = 100, 0.02


class SessionKey(NamedTuple):
    """A key. A lasting one survives this process, and other processes have it, too."""

    value: bytes
    is_lasting: bool


def read_session_key(folder: Path | None, configured: Secret | None = None) -> SessionKey:
    """Return the configured key, or that in a folder, made at the first call; else one that ends with this process.

    A key that others could have read or written is replaced, which ends all logins. Where the file cannot be used, the
    key ends with this process, and a warning says so.
    """
    if configured is not None:
        return SessionKey(hashlib.sha256(b"gnomon session key " + configured.reveal().encode()).digest(), True)
    if folder is None:
        return _passing_key()
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_process(folder):
            if (key := _read(path)) is None:
                _create(path)
                key = _read(path)
        if writers := other_writers(folder):
            log.warning(
                "other users could replace the key of logins: use another folder, or chmod go-w",
                path=str(path),
                problem=writers,
            )
        if key is not None:
            return SessionKey(key, True)
        problem = "it was replaced by another process"
    except OSError as exc:
        problem = exc.strerror or str(exc)
    log.warning(
        "logins will end with this process, and others do not accept them: set state_dir of [plugins.web] to a folder "
        "of the kernel's user, or session_key",
        path=str(path),
        problem=problem,
    )
    return _passing_key()


def _passing_key() -> SessionKey:
    return SessionKey(secrets.token_bytes(KEY_BYTES), False)


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block: it could remove the key that this one has just made.

    Not for long, because any user who may read the folder can lock it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOCK_RETRY_S)
            except OSError:  # some network file systems lock no folders
                break
            else:
                break
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes | None:
    """Return the key; None where the file is missing, or has been removed because it is not safe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        key = file.read(KEY_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
    problem = (
        "it belongs to another user" if status.st_uid != os.geteuid()
        else f"its mode is {stat.S_IMODE(status.st_mode):04o}" if status.st_mode & 0o077
        else f"it has {len(key)} bytes" if len(key) != KEY_BYTES
        else None
    )  # fmt: skip
    if problem is None:
        return key
    log.warning("the key of logins is replaced, which ends all logins", path=str(path), problem=problem)
    path.unlink()
    return None


def _create(path: Path) -> None:
    """Write a new key under another name and link it, so that no process ever reads half a key."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster, and its key is as good
            os.link(temporary, path)
    finally:
        temporary.unlink()
