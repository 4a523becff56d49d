"""Files beside the socket of a log, one for each process that follows while no kernel that leads answers it.

Nobody can be asked then: a file says who is there. Its process writes it again and again and removes it as soon as a
kernel answers; that of a process that was killed counts for ANNOUNCED_S.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from gnomon.domain.kernel_member import KernelMember
from gnomon.files import other_writers

ANNOUNCED_S = 15.0
"""Seconds for which a file counts: a process writes it at least every 6 s."""
MOST_BYTES = 64 * 1024
_ID = re.compile(r"[0-9a-f]{1,64}")
_members = msgspec.json.Decoder(KernelMember)


class AnnouncedFiles:
    """The files beside the socket at `path`. A folder that cannot be written, or that others may write, has none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, member: KernelMember) -> None:
        """Write the file of a process."""
        path = self._of(member.id)
        if path is None or other_writers(path.parent):
            return
        new = path.with_name(f"{path.name}.new")
        with suppress(OSError):
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(member))
            new.replace(path)

    def remove(self, member_id: str) -> None:
        """Remove the file of a process."""
        if (path := self._of(member_id)) is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def read(self) -> list[KernelMember]:
        """Return the processes whose files are new, by node and process; remove the files of others."""
        found = []
        with suppress(OSError):
            for path in self._path.parent.glob(f"{self._path.name}.*"):
                if not _ID.fullmatch(path.name.removeprefix(f"{self._path.name}.")):
                    continue
                with suppress(OSError, msgspec.MsgspecError):
                    status = path.stat()
                    if abs(time.time() - status.st_mtime) > ANNOUNCED_S or status.st_size > MOST_BYTES:
                        path.unlink()
                    else:
                        found.append(_members.decode(path.read_bytes()))
        return sorted(found, key=lambda member: (member.node, member.pid, member.id))

    def _of(self, member_id: str) -> Path | None:
        return self._path.with_name(f"{self._path.name}.{member_id}") if _ID.fullmatch(member_id) else None
