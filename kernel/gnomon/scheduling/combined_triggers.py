"""Triggers made of other triggers: all agree, any fires, or one with random jitter."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from gnomon.durations import MICROSECOND
from gnomon.scheduling.timezones import LATEST
from gnomon.scheduling.triggers import AnchoredTrigger, explain_trigger, in_words

# How long triggers may take to agree: as many rounds as in APScheduler 4, and as far ahead as cronsim searches.
MOST_DISAGREEMENTS = 10_000
HORIZON = timedelta(days=50 * 365)


class AndTrigger:
    """Fires at the instants on which all triggers agree; ends as soon as one of them does.

    It replaces APScheduler's, which never returns (3.11.3) if the triggers disagree after a previous fire. Triggers
    that have not agreed after 10,000 rounds or within 50 years (every even and every odd second) are considered ended.
    """

    __slots__ = ("triggers",)

    def __init__(self, triggers: Sequence[AnchoredTrigger]) -> None:
        self.triggers = tuple(triggers)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.fire_after(previous_fire_time, now - MICROSECOND)

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        fires = [trigger.fire_after(after, anchor) for trigger in self.triggers]
        for _ in range(MOST_DISAGREEMENTS):
            known = [fire for fire in fires if fire is not None]
            if len(known) < len(fires):
                return None
            latest = max(known)
            if latest - (after or anchor) > HORIZON:
                return None
            if min(known) == latest:
                return latest
            fires = [
                fire if fire == latest else trigger.fire_after(latest - MICROSECOND, anchor)
                for trigger, fire in zip(self.triggers, known, strict=True)
            ]
        return None

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        return self.fire_after(last_fire, anchor)

    def explain(self) -> str:
        """Describe the trigger."""
        return "whenever all agree: " + "; ".join(explain_trigger(trigger) for trigger in self.triggers)

    def __str__(self) -> str:
        return f"and[{', '.join(str(trigger) for trigger in self.triggers)}]"

    def __repr__(self) -> str:
        return f"AndTrigger({list(self.triggers)!r})"


class OrTrigger:
    """Fires whenever one of its triggers does; ends when all of them have ended.

    It replaces APScheduler's, which passes each trigger the last fire of the whole as if it were that trigger's own: an
    interval loses its phase, and a date is lost when another trigger fires first.
    """

    __slots__ = ("triggers",)

    def __init__(self, triggers: Sequence[AnchoredTrigger]) -> None:
        self.triggers = tuple(triggers)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.fire_after(previous_fire_time, now - MICROSECOND)

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        fires = [trigger.fire_after(after, anchor) for trigger in self.triggers]
        return min((fire for fire in fires if fire is not None), default=None)

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        return self.fire_after(last_fire, anchor)

    def explain(self) -> str:
        """Describe the trigger."""
        return "whenever one of these: " + "; ".join(explain_trigger(trigger) for trigger in self.triggers)

    def __str__(self) -> str:
        return f"or[{', '.join(str(trigger) for trigger in self.triggers)}]"

    def __repr__(self) -> str:
        return f"OrTrigger({list(self.triggers)!r})"


class JitterTrigger:
    """Fires up to `jitter` seconds later than another trigger, at random."""

    __slots__ = ("jitter", "trigger")

    def __init__(self, trigger: AnchoredTrigger, jitter: float) -> None:
        self.trigger = trigger
        self.jitter = jitter

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self._later(self.trigger.get_next_fire_time(previous_fire_time, now))

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        return self._later(self.trigger.fire_after(after, anchor))

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        return self._later(self.trigger.next_after(last_fire, anchor))

    def _later(self, fire: datetime | None) -> datetime | None:
        delay = timedelta(seconds=random.uniform(0, self.jitter))  # noqa: S311 - it only spreads load
        return fire + delay if fire is not None and fire <= LATEST - delay else None

    def explain(self) -> str:
        """Describe the trigger: `every hour, and up to 30 seconds later at random`."""
        return f"{explain_trigger(self.trigger)}, and up to {in_words(timedelta(seconds=self.jitter))} later at random"

    def __str__(self) -> str:
        return f"{self.trigger} + up to {self.jitter:g} s"

    def __repr__(self) -> str:
        return f"JitterTrigger({self.trigger!r}, {self.jitter!r})"
