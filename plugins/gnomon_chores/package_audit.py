"""`gnomon_chores:integrity_audit`: find files of installed Python packages that changed after their installation.

Every wheel's `RECORD` lists its files with their hashes
(https://packaging.python.org/specifications/recording-installed-packages). It is read here and not through
`Distribution.files`, which omits missing files from Python 3.12 on.
"""

import base64
import csv
import hashlib
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path

from gnomon import Context
from gnomon.jobs.argument_checks import checks_arguments
from gnomon_chores.arguments import kind
from gnomon_chores.errors import BadArgument, IntegrityViolated, NothingToAudit

CHUNK = 1 << 20


def check_arguments(*, paths: object = None) -> None:
    """Raise BadArgument for something else than a list of folders."""
    if paths is not None and not isinstance(paths, list | tuple):
        raise BadArgument(
            "integrity_audit", "paths", kind(paths), "a list of folders, or null for those of this Python"
        )
    for path in paths or ():
        if not isinstance(path, str) or not path or "\0" in path:
            raise BadArgument("integrity_audit", "paths", f"a list with {path!r}", "folders")


@checks_arguments(check_arguments)
def integrity_audit(ctx: Context, *, paths: list[str] | None = None) -> dict[str, int]:
    """Compare every installed file with the hash that its distribution recorded.

    Checks the distributions in `paths`, by default those of the interpreter that runs the job (`sys.path`); of two with
    the same name the first counts, as for imports. Returns counts: `distributions` (checked), `unverifiable` (editable,
    or without RECORD, as Linux distributors install them), `files` and `bytes` (hashed), `unhashed` (listed without a
    hash, such as .pyc files).

    Raises IntegrityViolated when a file is altered, missing or unreadable, NothingToAudit and BadArgument.
    """
    folders = checked_folders(paths)
    ctx.steps("discover", "verify", "report")
    ctx.step("discover")
    found = discover(folders)
    records = [(distribution, record) for distribution in found if (record := hashed_files(distribution)) is not None]
    if not records:
        raise NothingToAudit(folders, unverifiable=len(found))
    ctx.step("verify")
    audit = Audit()
    for number, (distribution, record) in enumerate(records):
        name = f"{distribution.name} {distribution.version}"
        ctx.progress(current_item=name, processed_items=number, total_items=len(records))
        for path, recorded in record:
            ctx.checkpoint()
            audit.check(name, distribution, path, recorded)
    ctx.progress(processed_items=len(records), total_items=len(records))
    ctx.step("report")
    audit.raise_if_violated()
    return {"distributions": len(records), "unverifiable": len(found) - len(records), **audit.counts()}


def checked_folders(paths: list[str] | None) -> list[str]:
    """Return the folders to search; raise BadArgument for those that do not exist."""
    if paths is None:
        return sys.path
    check_arguments(paths=paths)
    for path in paths:
        if not Path(path).is_dir():
            raise BadArgument("integrity_audit", "paths", f"a list with {path!r}", "existing folders")
    return list(paths)


def discover(folders: list[str]) -> list[Distribution]:
    """Return the distributions in these folders, the first of each name, in alphabetical order."""
    found: dict[str, Distribution] = {}
    for distribution in distributions(path=folders):
        # A folder with broken metadata has no name. It cannot be verified, but must not be missing from the counts.
        name = name_of(distribution) or f"broken {len(found)}"
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution)
    return [found[name] for name in sorted(found)]


def name_of(distribution: Distribution) -> str | None:
    """Return the name, or None where the metadata has none: to index it anyway is deprecated since Python 3.12."""
    metadata = distribution.metadata
    return metadata["Name"] if "Name" in metadata else None  # noqa: SIM401 - not every version types its get()


def hashed_files(distribution: Distribution) -> list[tuple[str, str]] | None:
    """Return (path, `algorithm=hash` or an empty string) of each file, or None if it cannot be verified."""
    record = distribution.read_text("RECORD")
    if not record or name_of(distribution) is None or is_editable(distribution):
        return None
    return [(row[0], row[1] if len(row) > 1 else "") for row in csv.reader(record.splitlines()) if row]


def is_editable(distribution: Distribution) -> bool:
    """Return whether the code is in a working folder (PEP 610)."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


@dataclass
class Audit:
    """The findings so far."""

    tally: Counter[str] = field(default_factory=Counter)
    altered: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def check(self, name: str, distribution: Distribution, path: str, recorded: str) -> None:
        """Hash one file and record the finding."""
        algorithm, _, expected = recorded.partition("=")
        if not expected or algorithm not in hashlib.algorithms_available:
            self.tally["unhashed"] += 1
            return
        entry = f"{name}: {path}"
        try:
            size, found = hash_file(Path(str(distribution.locate_file(path))), algorithm)
        except FileNotFoundError:
            self.missing.append(entry)
        except OSError as error:
            self.unreadable.append(f"{entry} ({error.strerror})")
        else:
            self.tally.update(files=1, bytes=size)
            if found != expected.rstrip("="):
                self.altered.append(entry)

    def counts(self) -> dict[str, int]:
        return {name: self.tally[name] for name in ("files", "bytes", "unhashed")}

    def raise_if_violated(self) -> None:
        if self.altered or self.missing or self.unreadable:
            raise IntegrityViolated(self.altered, self.missing, self.unreadable)


def hash_file(path: Path, algorithm: str) -> tuple[int, str]:
    """Return the size of a file and its hash as RECORD writes it: URL-safe base64 without padding."""
    digest, size = hashlib.new(algorithm, usedforsecurity=False), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
