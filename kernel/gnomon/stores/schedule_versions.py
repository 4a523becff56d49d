"""The versions of what computes fires: zone data, cronsim and APScheduler. Each start of a kernel records them."""

from __future__ import annotations

import platform
import zoneinfo
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from gnomon.domain.events import Event, KernelStarted
from gnomon.ports import Store
from gnomon.stores.reading import EARLIEST, LATEST, newest_kernel_fact

COMPUTES_FIRES = ("zone data", "cronsim", "apscheduler")


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


def software_versions() -> dict[str, str]:
    """Return the versions of gnomon and Python, and those of `present_versions`."""
    return {"gnomon": version("gnomon"), "python": platform.python_version()} | present_versions()


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


async def read_schedule_versions(store: Store, since: datetime = EARLIEST) -> list[ScheduleVersions]:
    """Return the versions that were in force from a moment on, oldest first: an entry for each change.

    The first entry is that of the kernel that had started last before the moment; a log of an older version has none.
    """
    before = await newest_kernel_fact(store, since, computes_fires)
    found = _starts([before] if before is not None else []) + _starts(await store.job_events("", since, LATEST))
    return [one for i, one in enumerate(found) if i == 0 or one.versions != found[i - 1].versions]


def _starts(found: Iterable[Event]) -> list[ScheduleVersions]:
    """Return the versions of the kernels that started, without those that computed no fires."""
    return [
        ScheduleVersions(at=event.at, node=event.node, versions=_relevant(event.versions))
        for event in found
        if isinstance(event, KernelStarted) and computes_fires(event)
    ]


def computes_fires(event: Event) -> bool:
    """Return whether an event is the start of a kernel that keeps the time of jobs."""
    return isinstance(event, KernelStarted) and event.keeps_time


def _relevant(versions: dict[str, str]) -> dict[str, str]:
    return {name: number for name, number in versions.items() if name in COMPUTES_FIRES}
