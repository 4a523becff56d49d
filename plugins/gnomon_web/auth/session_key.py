"""The key that signs logins: 32 random bytes in a file of its owner alone, so that logins survive a restart."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from gnomon.files import other_writers
from gnomon.logs import get_logger

log = get_logger("gnomon.web")

FILE_NAME = "gnomon-web.key"
KEY_BYTES = 32


def read_session_key(folder: Path | None) -> bytes:
    """Return the key in a folder, made at the first call; without a folder, a key that ends with this process.

    A key that others could have read or written is replaced, which ends all logins. Where the file cannot be used, the
    key ends with this process, and a warning says so.
    """
    if folder is None:
        return secrets.token_bytes(KEY_BYTES)
    path = folder / FILE_NAME
    try:
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
            return key
        problem = "it was replaced by another process"
    except OSError as exc:
        problem = exc.strerror or str(exc)
    log.warning(
        "logins will end with this process: set state_dir of [plugins.web] to a folder of the kernel's user",
        path=str(path),
        problem=problem,
    )
    return secrets.token_bytes(KEY_BYTES)


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
    path.parent.mkdir(parents=True, exist_ok=True)
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
