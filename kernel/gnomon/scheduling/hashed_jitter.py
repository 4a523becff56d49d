"""Jitter that spreads fires by a hash, so that a fire can be computed again: from its job and its nominal time."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b

from gnomon.durations import MICROSECOND
from gnomon.errors import TriggerError
from gnomon.scheduling.limited_triggers import BoundedTrigger, FilteredTrigger
from gnomon.scheduling.triggers import AnchoredTrigger, explain_trigger, in_words

MILLISECOND = timedelta(milliseconds=1)
FIRST_LOOK = timedelta(minutes=1)
MOST_NOMINAL_FIRES = 100_000
"""Nominal fires between two fires that are walked through."""


class HashedJitterTrigger:
    """Fires up to `longest` later than another trigger, by a hash of the job's id and of the nominal time.

    The hash is the BLAKE2b digest, 8 bytes and big-endian, of `job_id`, a zero byte and the nominal time in
    microseconds of Unix time as decimal text. Modulo the number of milliseconds in `longest` it is the delay in
    milliseconds. The delay is modulo the time to the next nominal fire where that is shorter, so that fires keep their
    order and none is lost. A delay beyond the end of the schedule, or into an excluded time, is none.

    The delayed time is the fire: it is the scheduled time of the run and makes its id, so the log, `audit` and `plan`
    need to know only the definition of the job.
    """

    __slots__ = ("job_id", "longest", "trigger")

    def __init__(self, trigger: AnchoredTrigger, longest: timedelta, job_id: str) -> None:
        if longest < MILLISECOND:
            raise TriggerError(f'jitter must be 1 ms or more, got {longest}; for example jitter = "30s"')
        self.trigger = trigger
        self.longest = longest
        self.job_id = job_id

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.fire_after(previous_fire_time, now - MICROSECOND)

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        found = self._step(after, anchor)
        return found[1] if found is not None else None

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        return self.fire_after(last_fire, anchor)

    def nominal_time(self, fire: datetime, anchor: datetime) -> datetime | None:
        """Return the time that the schedule names for a fire; None for a time that is not a fire."""
        found = self._step(fire - MICROSECOND, anchor)
        return found[0] if found is not None and found[1] == fire else None

    def fire_of(self, nominal: datetime, anchor: datetime) -> datetime | None:
        """Return the fire of a time that the schedule names; None for one that it does not name."""
        found = self._step(nominal - MICROSECOND, anchor)
        return found[1] if found is not None and found[0] == nominal else None

    def _step(self, after: datetime | None, anchor: datetime) -> tuple[datetime, datetime] | None:
        """Return the nominal and the delayed time of the first fire after an instant."""
        nominal = self.trigger.fire_after(None, anchor) if after is None else self._begin(after, anchor)
        for _ in range(MOST_NOMINAL_FIRES):
            if nominal is None:
                return None
            following = self.trigger.fire_after(nominal, anchor)
            fire = self._delayed(nominal, following)
            if after is None or fire > after:
                return nominal, fire
            nominal = following
        raise TriggerError(f"trigger {self} names more than {MOST_NOMINAL_FIRES:,} times within {self.longest}")

    def _begin(self, after: datetime, anchor: datetime) -> datetime | None:
        """Return a nominal time whose fire, or the fire of one after it, is the first after an instant.

        As each nominal time comes before its fire, and the fire before the next nominal time, the last nominal time
        that is not later than the instant will do. It is searched in a span that grows.
        """
        span = min(FIRST_LOOK, self.longest)
        while True:
            nominal = self.trigger.fire_after(after - span, anchor)
            if span >= self.longest or (nominal is not None and nominal <= after):
                return nominal
            span = min(span * 8, self.longest)

    def _delayed(self, nominal: datetime, following: datetime | None) -> datetime:
        window = self.longest if following is None else min(self.longest, following - nominal)
        fire = nominal + hashed_delay(self.job_id, nominal, window)
        return fire if _is_allowed(self.trigger, fire) else nominal

    def explain(self) -> str:
        """Describe the trigger: `every hour, and up to 30 seconds later by a hash of the job and the time`."""
        longest = in_words(self.longest)
        amount = longest if longest[0].isdigit() else f"1 {longest}"
        return f"{explain_trigger(self.trigger)}, and up to {amount} later by a hash of the job and the time"

    def _key(self) -> tuple[object, ...]:
        return self.trigger, self.longest, self.job_id

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, HashedJitterTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return f"{self.trigger}, up to {self.longest} later by hash"

    def __repr__(self) -> str:
        return f"HashedJitterTrigger({self.trigger!r}, {self.longest!r}, {self.job_id!r})"


def hashed_delay(job_id: str, nominal: datetime, window: timedelta) -> timedelta:
    """Return the delay of a fire: from 0 to less than `window`, in whole milliseconds."""
    micros = (nominal - _EPOCH) // MICROSECOND
    digest = blake2b(f"{job_id}\0{micros}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % max(window // MILLISECOND, 1) * MILLISECOND


def nominal_time(trigger: AnchoredTrigger | None, fire: datetime, anchor: datetime) -> datetime:
    """Return the time that a schedule names for a fire: the fire itself, unless the job has jitter."""
    if not isinstance(trigger, HashedJitterTrigger):
        return fire
    return trigger.nominal_time(fire, anchor) or fire


def fire_of(trigger: AnchoredTrigger | None, nominal: datetime, anchor: datetime) -> datetime | None:
    """Return the fire of a time that a schedule names: the time itself, unless the job has jitter."""
    return trigger.fire_of(nominal, anchor) if isinstance(trigger, HashedJitterTrigger) else nominal


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _is_allowed(trigger: AnchoredTrigger, fire: datetime) -> bool:
    """Return whether the limits of a schedule allow a fire that was delayed."""
    while True:
        if isinstance(trigger, BoundedTrigger):
            if trigger.end is not None and fire > trigger.end:
                return False
        elif isinstance(trigger, FilteredTrigger):
            if trigger.excluded_until(fire) is not None:
                return False
        else:
            return True
        trigger = trigger.trigger
