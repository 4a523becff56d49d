"""The jobs of one group that wait for a slot, in the order of their turns, and the slots that the group has."""

from __future__ import annotations

import heapq
from collections import deque

from gnomon.domain.kernel_health import GroupHealth
from gnomon.jobs.groups import Group, Rate

Turn = tuple[int, int, str]
"""The place of a job in the line: higher priorities first, then whose turn came first; and the id of the job."""

TOLERANCE_S = 1e-6
"""A wait of the clock may end that much too early, by the rounding of floats."""


class LaneQueue:
    """A line of jobs. That of jobs without a group has no limit of its own."""

    def __init__(self, name: str | None = None, group: Group | None = None) -> None:
        self.name = name
        self.runs: dict[str, str] = {}
        """The runs that take slots of the group, each with its job."""
        self.turns: list[Turn] = []
        self._starts: deque[float] = deque()
        self._period = 0.0
        self.limit_to(group or Group(limit=2**31))
        self._is_defined = group is not None

    def limit_to(self, group: Group) -> None:
        """Set the limits. Runs that are active keep their slots."""
        self._group = group
        self._limit = float("inf") if group.limit is None else group.limit
        rate = group.starts
        self._period = rate.period.total_seconds() if rate is not None else 0.0
        self._starts = deque(self._starts, maxlen=rate.count if rate is not None else 0)

    @property
    def rate(self) -> Rate | None:
        """The rate that limits the starts."""
        return self._group.starts

    def push(self, turn: Turn) -> None:
        """Put a job in the line."""
        heapq.heappush(self.turns, turn)

    def pop(self) -> str:
        """Remove the job that is next, and return its id."""
        return heapq.heappop(self.turns)[2]

    def drop(self, job_id: str) -> Turn | None:
        """Remove a job from the line, and return the turn that it had; None where it had none."""
        turn = next((turn for turn in self.turns if turn[2] == job_id), None)
        if turn is not None:
            self.turns.remove(turn)
            heapq.heapify(self.turns)
        return turn

    def enter(self, execution_id: str, job_id: str, now: float) -> None:
        """Record that a run has a slot of the group."""
        self.runs[execution_id] = job_id
        self.note_start(now)

    def note_start(self, at: float) -> None:
        """Count a start for the rate."""
        if self._period:
            self._starts.append(at)

    def leave(self, execution_id: str, *, has_started: bool = True) -> None:
        """Release the slot of a run."""
        if self.runs.pop(execution_id, None) is not None and not has_started and self._starts:
            self._starts.pop()

    def note_starts(self, ages: list[float], now: float) -> None:
        """Count the starts under an earlier kernel, by the seconds that have passed since each."""
        self._starts.extendleft(now - age for age in sorted(ages)[: (self._starts.maxlen or 0) - len(self._starts)])

    def has_room(self, now: float) -> bool:
        """Return whether a run of the group may start."""
        return len(self.runs) < self._limit and (not self._period or self._rate_opens_in(now) <= TOLERANCE_S)

    def opens_in(self, now: float) -> float | None:
        """Return the seconds until the rate lets a run start; None where it does, or where the group is full."""
        if not self._period or len(self.runs) >= self._limit:
            return None
        seconds = self._rate_opens_in(now)
        return seconds if seconds > TOLERANCE_S else None

    def _rate_opens_in(self, now: float) -> float:
        is_spent = len(self._starts) == self._starts.maxlen
        return self._starts[0] + self._period - now if is_spent else 0.0

    def health(self, now: float) -> GroupHealth | None:
        """Return the state of the group; None for one that is not defined any more."""
        if not self._is_defined or self.name is None:
            return None
        starts = sum(1 for at in self._starts if now - at < self._period) if self._period else None
        opens_in = self.opens_in(now)
        return GroupHealth(
            self.name,
            self._group.limit,
            self._group.rate,
            list(self.runs),
            len(self.turns),
            starts,
            None if opens_in is None else round(opens_in, 3),
        )
