"""The versions of what computes fires: zone data, cronsim and APScheduler. A store keeps which were in force when."""

from __future__ import annotations

import zoneinfo
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from gnomon.domain.records import Checkpoint
from gnomon.ports import Store

CHECKPOINT = "schedule_versions"
KEPT = 1_000
"""Changes that are kept; the oldest ones are dropped."""


class ScheduleVersions(msgspec.Struct, frozen=True, kw_only=True):
    """The versions with which a kernel that started at `at` computed fires, until the next entry."""

    at: datetime
    node: str
    versions: dict[str, str]


def present_versions() -> dict[str, str]:
    """Return the versions in this process, by name."""
    found = {"zone data": _zone_data_version()}
    for package in ("cronsim", "apscheduler"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _zone_data_version() -> str:
    # zoneinfo looks into these folders first, and into the package tzdata for what is in none of them.
    for folder in map(Path, zoneinfo.TZPATH):
        with suppress(OSError, UnicodeDecodeError), (folder / "tzdata.zi").open(encoding="ascii") as file:
            return file.readline().removeprefix("# version ").strip()
        with suppress(OSError, UnicodeDecodeError):
            return (folder / "+VERSION").read_text(encoding="ascii").strip()
        if (folder / "UTC").exists():
            return "unknown"
    with suppress(PackageNotFoundError):
        return version("tzdata")
    return "unknown"


async def read_schedule_versions(store: Store) -> list[ScheduleVersions]:
    """Return the versions that were in force, oldest first; a log of an older version has none."""
    kept = await store.checkpoint(CHECKPOINT)
    if kept is None or kept.view is None:
        return []
    return msgspec.json.decode(kept.view, type=list[ScheduleVersions])


async def note_schedule_versions(store: Store, at: datetime, node: str) -> ScheduleVersions | None:
    """Record the present versions if they differ from the newest ones in the store, and return those."""
    known, present = await read_schedule_versions(store), present_versions()
    before = known[-1] if known else None
    if before is None or before.versions != present:
        known = [*known, ScheduleVersions(at=at, node=node, versions=present)][-KEPT:]
        await store.save_checkpoint(CHECKPOINT, Checkpoint(await store.head(), msgspec.json.encode(known)))
    return before
