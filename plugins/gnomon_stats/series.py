"""Counts by hour or by day as packed rows of numbers, because a job may have hundreds of them."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

Outcome: TypeAlias = Literal["success", "failed", "missed", "cancelled"]


_MOST_MICROS = 2**63 - 1


def add_micros(one: int, other: int) -> int:
    """Add durations in µs; a sum that rows cannot hold, of 292,000 years, is the largest that they can."""
    return min(one + other, _MOST_MICROS)


class Tally(msgspec.Struct, array_like=True):
    """The number of executions by outcome; `micros` is the total duration of the successful ones in µs."""

    success: int = 0
    failed: int = 0
    missed: int = 0
    cancelled: int = 0
    micros: int = 0

    def add(self, other: Tally) -> None:
        """Add the counts of another tally."""
        self.success += other.success
        self.failed += other.failed
        self.missed += other.missed
        self.cancelled += other.cancelled
        self.micros = add_micros(self.micros, other.micros)

    @property
    def total(self) -> int:
        """The number of executions."""
        return self.success + self.failed + self.missed + self.cancelled

    @property
    def average(self) -> float | None:
        """The mean seconds of the successful ones."""
        return self.micros / self.success / 1e6 if self.success else None


class Row(msgspec.Struct, frozen=True):
    """One period and its tally. `first` is the log position of the first outcome counted in it."""

    period: int
    tally: Tally
    first: int


_WIDTH = 7  # period, the five numbers of a tally, first
_FIELDS: dict[Outcome, int] = {"success": 1, "failed": 2, "missed": 3, "cancelled": 4}


class Series:
    """Tallies by period (an hour or a day as a number); only periods in which a run ended have one."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._rows = array("q", numbers)
        if len(self._rows) % _WIDTH:
            raise ValueError(f"expected rows of {_WIDTH} numbers, got {len(self._rows)} numbers")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Row]:
        rows = self._rows
        for at in range(0, len(rows), _WIDTH):
            yield Row(rows[at], Tally(*rows[at + 1 : at + 6]), rows[at + 6])

    def __len__(self) -> int:
        return len(self._rows) // _WIDTH

    def __repr__(self) -> str:
        return f"Series({list(self)})"

    def numbers(self) -> list[int]:
        """Return all rows as one list, the form in which the series is saved."""
        return self._rows.tolist()

    def count(self, period: int, outcome: Outcome, count: int, micros: int, position: int) -> None:
        """Count the outcome at a log position; it nearly always belongs to the newest period."""
        rows, at = self._rows, len(self._rows) - _WIDTH
        while at >= 0 and rows[at] > period:
            at -= _WIDTH
        if at < 0 or rows[at] != period:
            at += _WIDTH
            rows[at:at] = array("q", (period, 0, 0, 0, 0, 0, position))
        rows[at + _FIELDS[outcome]] += count
        rows[at + 5] = add_micros(rows[at + 5], micros)

    def get(self, period: int) -> Tally:
        """Return the tally of a period, an empty one where no run ended in it."""
        rows, at = self._rows, len(self._rows) - _WIDTH
        while at >= 0 and rows[at] > period:
            at -= _WIDTH
        return Tally(*rows[at + 1 : at + 6]) if at >= 0 and rows[at] == period else Tally()

    def keep_newest(self, most: int) -> Tally | None:
        """Drop the oldest periods beyond `most`, and return the sum of their tallies."""
        surplus = len(self) - most
        if surplus <= 0:
            return None
        dropped = Tally()
        for row in itertools.islice(self, surplus):
            dropped.add(row.tally)
        del self._rows[: surplus * _WIDTH]
        return dropped
