"""The newest runs of each job, picked from a list that has the newest runs first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def newest_of_each_job(newest_first: Iterable[T], most: int, job_of: Callable[[T], str]) -> list[T]:
    """Return the first `most` entries of each job, in the order of the list."""
    seen: Counter[str] = Counter()
    found: list[T] = []
    for entry in newest_first:
        job_id = job_of(entry)
        if seen[job_id] < most:
            seen[job_id] += 1
            found.append(entry)
    return found
