"""One job, and the preview of one, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from gnomon.scheduling.timezones import timezone_or_utc
from gnomon.text import moment

if TYPE_CHECKING:
    from gnomon.cli.access.shown_job import ShownJob
    from gnomon.domain.job_preview import FireCount, JobPreview

SIGNS = {"add": "+", "change": "~", "keep": " "}


def job_lines(job: ShownJob) -> Iterator[str]:
    """Yield the lines of a job: where it comes from, when it is due, and its keys as TOML has them."""
    zone = timezone_or_utc(job.timezone)
    facts = {
        "job": job.id,
        "defined by": job.source or job.origin,
        "owner": job.owner,
        "version": str(job.version) if job.version else None,
        "problem": job.problem,
        "paused": _pause(job) if job.paused else None,
        "schedule": job.schedule or None,
        "next fires": ", ".join(moment(fire, zone) for fire in job.next_run_times) or None,
    }
    width = max(map(len, facts))
    yield from (f"{name:<{width}}  {value}" for name, value in facts.items() if value)
    yield ""
    yield from (f"{key} = {_toml(value)}" for key, value in job.definition.items())


def preview_lines(found: JobPreview) -> Iterator[str]:
    """Yield the lines of a preview."""
    zone = timezone_or_utc(found.timezone)
    action = found.action or "add"
    yield f"{SIGNS[action]} {found.id}{' (paused)' if found.paused else ''}"
    for change in found.changes:
        yield f"    {change.key}: {_json(change.old)} → {_json(change.new)}"
    yield f"    {found.schedule}"
    if found.next_run_times:
        yield f"    next: {', '.join(moment(fire, zone) for fire in found.next_run_times)}"
    if found.gained.count:
        yield f"    gains {_fires(found.gained, zone)} until {moment(found.until, zone)}"
    if found.lost.count:
        yield f"    loses {_fires(found.lost, zone)} until {moment(found.until, zone)}"
    for note in found.notes:
        yield f"    {note}"


def _pause(job: ShownJob) -> str:
    by = f"by {job.paused_by}" if job.paused_by else "yes"
    return f"{by}: {job.paused_reason}" if job.paused_reason else by


def _fires(fires: FireCount, zone: tzinfo) -> str:
    more = ", …" if fires.count > len(fires.first) else ""
    shown = ", ".join(moment(fire, zone) for fire in fires.first)
    return f"{fires.count:,} fire{'s' * (fires.count != 1)}: {shown}{more}"


def _json(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def _toml(value: Any) -> str:
    """Return a JSON value as TOML writes it in one line; TOML has no null, so such keys are left out."""
    if isinstance(value, dict):
        items = (f"{_key(key)} = {_toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {', '.join(items)} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)
