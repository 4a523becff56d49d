"""Samples of the fires that a kernel has computed, kept with the log.

Another version of zone data, cronsim or APScheduler may give a schedule other fires, although its text stays the same.
The samples of the kernel that ran last show which: they are computed again and compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice, zip_longest
from typing import Any

import msgspec

from gnomon.domain.job_state import JobState
from gnomon.domain.records import Checkpoint
from gnomon.jobs.diff import SCHEDULE_KEYS
from gnomon.ports import Store
from gnomon.scheduling.catch_up import fires, next_fire
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.triggers import AnchoredTrigger, EveryTrigger, is_predictable

CHECKPOINT = "fire_samples"
PROBES = (*(timedelta(days=day) for day in range(7)), *(timedelta(weeks=week) for week in range(1, 54)))
"""A cron expression is asked for the fire after each of these times: a week by days, and a year by weeks. Clock changes
last longer than a week, and what a day field means shows within one."""
CHAINED_FIRES = 20
"""Other triggers count on from their last fire, so that their next fires are taken."""
LATEST = datetime.max.replace(tzinfo=UTC)


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some fires of a schedule. Those of a cron expression follow the probes from `since`; None stands for no fire.

    Those of another trigger follow each other; they are counted from `last_fire` and `anchor`.
    """

    since: datetime
    fires: list[datetime | None]
    last_fire: datetime | None = None
    anchor: datetime | None = None


class FireSamples(msgspec.Struct):
    """The samples of a log, by `sample_key`, and the versions with which they were computed."""

    versions: dict[str, str]
    samples: dict[str, Sample] = {}


def sample_key(job_id: str, definition: Mapping[str, Any], trigger: AnchoredTrigger | None) -> str | None:
    """Return the key of a job's sample; None for a job whose fires do not depend on versions, or are random.

    Jobs with the same cron expression and zone share a sample.
    """
    if isinstance(trigger, CronTrigger):
        return f"{trigger.expression} {trigger.timezone}"
    if trigger is None or isinstance(trigger, EveryTrigger) or not is_predictable(trigger):
        return None
    schedule = {key: definition[key] for key in SCHEDULE_KEYS if key in definition}
    return f"{job_id} {json.dumps(schedule, sort_keys=True, default=str)}"


def take_sample(trigger: AnchoredTrigger, state: JobState, now: datetime) -> Sample:
    """Compute a sample from now on; a trigger may raise anything."""
    if isinstance(trigger, CronTrigger):
        return Sample(now, _probed(trigger, now))
    chain = _chained(trigger, state.last_fire, state.anchor)
    return Sample(now, chain, state.last_fire, state.anchor)


def moved_fires(trigger: AnchoredTrigger, sample: Sample) -> Iterator[tuple[datetime | None, datetime | None]]:
    """Yield the fires of a sample that are other ones now, in order: (old, new), None where there is none."""
    if isinstance(trigger, CronTrigger):
        new = _probed(trigger, sample.since)
    else:
        new = _chained(trigger, sample.last_fire, sample.anchor or sample.since)
    pairs = dict.fromkeys(zip_longest(sample.fires, new))
    yield from ((old, present) for old, present in pairs if old != present)


def _probed(trigger: CronTrigger, since: datetime) -> list[datetime | None]:
    return [_utc(next_fire(trigger, None, since + probe)) for probe in PROBES]


def _chained(trigger: AnchoredTrigger, last_fire: datetime | None, anchor: datetime) -> list[datetime | None]:
    found: Iterable[datetime] = islice(fires(trigger, last_fire, anchor, LATEST), CHAINED_FIRES)
    return [_utc(fire) for fire in found]


def _utc(fire: datetime | None) -> datetime | None:
    return fire.astimezone(UTC) if fire is not None else None


async def read_samples(store: Store) -> FireSamples | None:
    """Return the samples of the kernel that ran last; None where there are none, or none that can be read."""
    kept = await store.checkpoint(CHECKPOINT)
    if kept is None or kept.view is None:
        return None
    try:
        return msgspec.json.decode(kept.view, type=FireSamples)
    except msgspec.DecodeError:  # of another version: they are taken again
        return None


async def save_samples(store: Store, samples: FireSamples, position: int) -> None:
    """Save the samples of this kernel."""
    await store.save_checkpoint(CHECKPOINT, Checkpoint(position, msgspec.json.encode(samples)))
