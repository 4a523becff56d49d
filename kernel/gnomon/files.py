"""Files that belong to one user: created for their owner alone, and checked for other users who could change them."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from gnomon.errors import UnsafeFileError
from gnomon.logs import get_logger

log = get_logger("gnomon.files")

PRIVATE = 0o600


def open_private(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    """Open a file that only its owner can open, whatever the umask is, and return its descriptor.

    Symbolic links are not followed. An existing file that every user could open is narrowed to its owner; one that only
    a group can open stays as it is. UnsafeFileError for anything but a regular file, and for a file of a user who owns
    neither this process nor the folder.
    """
    try:
        # Opening a named pipe would wait for its other end without O_NONBLOCK.
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, PRIVATE)
    except OSError as exc:
        if path.is_symlink() and not isinstance(exc, FileExistsError):
            raise UnsafeFileError(path, "is a symbolic link", "remove it") from exc
        raise
    try:
        _check_private(path, os.fstat(file), file)
    except BaseException:
        os.close(file)
        raise
    return file


def make_private(path: Path) -> None:
    """Create a file as `open_private` does, or narrow an existing one without opening it.

    A process that closes a descriptor of a SQLite database drops the locks that SQLite holds on it.
    """
    try:
        os.close(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        if path.is_symlink():
            raise UnsafeFileError(path, "is a symbolic link", "remove it") from None
        _check_private(path, path.stat(), path)


def _check_private(path: Path, found: os.stat_result, file: int | Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(path, "is not a regular file", "remove it")
    owner = found.st_uid
    if owner not in {os.geteuid(), 0, path.parent.stat().st_uid}:
        raise UnsafeFileError(path, f"belongs to {user_name(owner)}", "move it away, or use another folder")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o600 != 0o600 or mode & 0o007:
        _narrow(path, file, mode)


def _narrow(path: Path, file: int | Path, mode: int) -> None:
    try:
        os.chmod(file, PRIVATE)  # noqa: PTH101 - a descriptor, where there is one
    except PermissionError:
        log.warning("other users can open this file", path=str(path), mode=f"{mode:04o}", advice=f"chmod 600 {path}")
    else:
        if mode & 0o007:
            log.warning("other users could open this file; now only its owner can", path=str(path), mode=f"{mode:04o}")


def other_writers(path: Path) -> str:
    """Return who else may change a file, or what a folder contains; an empty string where that is only its owner.

    The folders above count too, unless they are sticky: a user who can rename one can put another in its place. Where
    the path is a symbolic link, the folder that has the link counts as well as what it leads to.
    """
    with suppress(OSError):
        target = path.resolve()
        if who := _writers(target.stat()):
            return f"{target} can be changed by {who}"
        folders = [*target.parents]
        if path.is_symlink():
            parent = path.absolute().parent.resolve()
            folders += [parent, *parent.parents]
        for folder in folders:
            found = folder.stat()
            if (who := _writers(found)) and not found.st_mode & stat.S_ISVTX:
                return f"{folder} can be changed by {who}"
    return ""


def read_regular(path: Path) -> bytes:
    """Return the content of a file; OSError for anything but a regular file: a named pipe may never end."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as content:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return content.read()


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the number of a file, which another file at its path does not have; None for no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _writers(found: os.stat_result) -> str:
    if found.st_mode & stat.S_IWOTH:
        return "every user"
    if found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid():
        return f"the group {group_name(found.st_gid)}"
    return ""


def user_name(uid: int) -> str:
    """Return the name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # as in many containers
        return f"user {uid}"


def group_name(gid: int) -> str:
    """Return the name of a group, or the number where there is none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
