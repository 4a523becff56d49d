"""Counts of one job by period, kind and bucket of a histogram, in one sorted array of numbers.

An entry has 64 bits: the kind, the period, the bucket and the count, from the highest bit to the lowest. All entries
of a kind in a range of periods are therefore one slice, and the counts of many periods are merged by adding up. A job
that runs once a period needs 16 bytes for it: one entry for the end, one for the lateness.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

SUCCESS, FAILED, MISSED, CANCELLED, LATENESS = range(5)
KINDS: Final = (SUCCESS, FAILED, MISSED, CANCELLED, LATENESS)

_COUNT_BITS, _BUCKET_BITS, _PERIOD_BITS = 19, 9, 33
_BUCKET_AT = _COUNT_BITS
_PERIOD_AT = _BUCKET_AT + _BUCKET_BITS
_KIND_AT = _PERIOD_AT + _PERIOD_BITS
_MOST = (1 << _COUNT_BITS) - 1
_BUCKETS = (1 << _BUCKET_BITS) - 1
_ZERO = 1 << (_PERIOD_BITS - 1)  # minutes since 1970 are negative before, and exceed 32 bits in the year 9999

PERIOD_ERROR = 0.05
"""The largest relative error of a percentile of periods, as in `histogram`: coarser, so that thousands of jobs fit."""
_GROWTH = math.log((1 + PERIOD_ERROR) / (1 - PERIOD_ERROR))
FLOOR_MICROS: Final = {SUCCESS: 1_000, LATENESS: 10_000}
"""Durations and delays up to these are not told apart: 1 ms and 10 ms."""


def period_bucket(kind: int, micros: int) -> int:
    """Return the bucket of a duration, or of a delay, in µs."""
    floor = FLOOR_MICROS[kind]
    return min(math.ceil(math.log(micros / floor) / _GROWTH), _BUCKETS) if micros > floor else 0


def period_middle(kind: int, bucket: int) -> float:
    """Return the µs that represent a bucket: those in the lowest count as 0."""
    return FLOOR_MICROS[kind] * (1 - PERIOD_ERROR) * math.exp(bucket * _GROWTH) if bucket > 0 else 0.0


class Cells:
    """Counts by period, of which the newest with an entry are kept; `dropped` is the newest that was dropped."""

    __slots__ = ("_entries", "_periods", "dropped")

    def __init__(self, entries: bytes = b"", periods: bytes = b"", dropped: int | None = None) -> None:
        self._entries = _from_bytes("Q", entries)
        self._periods = _from_bytes("q", periods)
        self.dropped = dropped

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cells) and self.plain() == other.plain()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Cells({[(kind, *row) for kind in KINDS for row in self.within(kind)]}, dropped={self.dropped})"

    def plain(self) -> tuple[bytes, bytes, int | None]:
        """Return the form in which the cells are saved."""
        return _to_bytes(self._entries), _to_bytes(self._periods), self.dropped

    def count(self, entry: int, period: int, count: int, most_periods: int) -> None:
        """Add to the count of a bucket in a period, and drop the oldest period if there are more than that many.

        `entry` is that of the kind and the bucket, as `entry_of` gives it: the same for all widths of periods.
        """
        entries, lowest = self._entries, entry + (period << _PERIOD_AT)
        at = bisect_left(entries, lowest)
        total = count + (entries[at] - lowest if at < len(entries) and entries[at] <= lowest + _MOST else 0)
        if total == count:
            entries.insert(at, lowest + min(count, _MOST))
        else:
            entries[at] = lowest + min(total, _MOST)
        if total > _MOST:
            self._add_surplus(lowest, total - _MOST)
        periods = self._periods
        if not periods or periods[-1] != period:
            self._note(period, most_periods)

    def _add_surplus(self, lowest: int, count: int) -> None:
        """Add what a full entry cannot count: a bucket has several entries then, the full ones last."""
        while count > 0:
            self._entries.insert(bisect_left(self._entries, lowest), lowest + min(count, _MOST))
            count -= _MOST

    def _note(self, period: int, most_periods: int) -> None:
        periods = self._periods
        at = bisect_left(periods, period)
        if at == len(periods) or periods[at] != period:
            periods.insert(at, period)
            if len(periods) > most_periods:
                self._drop(periods.pop(0))

    def within(self, kind: int, first: int | None = None, last: int | None = None) -> Iterator[tuple[int, int, int]]:
        """Yield period, bucket and count of each entry with first <= period <= last."""
        for entry in self._slice(kind, first, last):
            yield (
                ((entry >> _PERIOD_AT) & ((1 << _PERIOD_BITS) - 1)) - _ZERO,
                (entry >> _BUCKET_AT) & _BUCKETS,
                entry & _MOST,
            )

    def add_up(self, kind: int, first: int, width: int, column: list[int], histograms: list[dict[int, int]]) -> None:
        """Add the counts of `width` periods each, from `first` on, to the numbers of a column and to its histograms."""
        begin = _key(kind, first, 0)
        for entry in self._slice(kind, first, first + width * len(column) - 1):
            at, count, bucket = (
                ((entry - begin) >> _PERIOD_AT) // width,
                entry & _MOST,
                (entry >> _BUCKET_AT) & _BUCKETS,
            )
            column[at] += count
            counts = histograms[at]
            counts[bucket] = counts.get(bucket, 0) + count

    def has(self, first: int, last: int) -> bool:
        """Return whether there is an entry with first <= period <= last."""
        at = bisect_left(self._periods, first)
        return at < len(self._periods) and self._periods[at] <= last

    def total(self, kind: int, first: int, last: int) -> int:
        """Return the sum of the counts of a kind with first <= period <= last."""
        return sum(entry & _MOST for entry in self._slice(kind, first, last))

    def _slice(self, kind: int, first: int | None, last: int | None) -> array[int]:
        low = _key(kind, first if first is not None else -_ZERO, 0)
        high = _key(kind, last if last is not None else _ZERO - 1, _BUCKETS) | _MOST
        begin = bisect_left(self._entries, low)
        return self._entries[begin : bisect_right(self._entries, high, begin)]

    def _drop(self, period: int) -> None:
        for kind in KINDS:
            begin = bisect_left(self._entries, _key(kind, period, 0))
            del self._entries[begin : bisect_right(self._entries, _key(kind, period, _BUCKETS) | _MOST, begin)]
        self.dropped = period if self.dropped is None else max(self.dropped, period)


def entry_of(kind: int, bucket: int) -> int:
    """Return the entry of a kind and a bucket in the period 0, without a count."""
    return kind << _KIND_AT | _ZERO << _PERIOD_AT | bucket << _BUCKET_AT


def _key(kind: int, period: int, bucket: int) -> int:
    return entry_of(kind, bucket) + (period << _PERIOD_AT)


def _to_bytes(numbers: array[int]) -> bytes:
    """Return the lowest byte of each number, then the next of each: zlib makes a third of it that way."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    raw = numbers.tobytes()
    return b"".join(raw[place::8] for place in range(8))


def _from_bytes(code: str, raw: bytes) -> array[int]:
    numbers: array[int] = array(code)
    if not raw:
        return numbers
    whole, count = bytearray(len(raw)), len(raw) // 8
    for place in range(8):
        whole[place::8] = raw[place * count : (place + 1) * count]
    numbers.frombytes(whole)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
