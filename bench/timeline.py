"""Fold a million runs of the last 24 hours, and time the timelines that a dashboard asks for.

python bench/timeline.py [--runs 1000000] [--jobs 50]

The CPU time and the bytes of the answer about the last 24 h, 1 h and 30 d, the time of the fold, the bytes of its
checkpoint, and the memory of the counts by period.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gnomon import Event, Failed, Started, Succeeded
from gnomon_stats.checkpoint import decode_part, encode_part, to_checkpoint
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.lane_calls import LanesQuery
from gnomon_stats.lane_fold import LaneFold
from gnomon_stats.lanes import lanes
from measure import arguments, report, short

NOW = datetime(2026, 6, 1, 12, 34, tzinfo=UTC)
BATCH, TIMES = 2_000, 15
SPANS = {"24h": (timedelta(hours=24), 96), "1h": (timedelta(hours=1), 60), "30d": (timedelta(days=30), 120)}


def events(runs: int, jobs: int) -> Iterator[Event]:
    """Yield the starts and ends of runs that are spread over 24 hours; one in fifty fails."""
    chance = random.Random(7)  # noqa: S311 - the same log each time
    step = timedelta(days=1) / runs
    for number in range(runs):
        job, at = f"job-{number % jobs}", NOW - timedelta(days=1) + number * step
        place: dict[str, Any] = {"stream": f"{number:024x}", "job_id": job, "node": "bench"}
        took = chance.lognormvariate(number % jobs % 7, 0.3)
        yield Started(**place, version=2, position=2 * number + 1, at=at, runner="async", delay=chance.expovariate(100))
        end: dict[str, Any] = {**place, "version": 3, "position": 2 * number + 2, "at": at + step / 2}
        if chance.random() < 0.02:
            yield Failed(**end, reason="exception", execution_time=took)
        else:
            yield Succeeded(**end, execution_time=took)


def folded_runs(runs: int, jobs: int) -> tuple[Statistics, float]:
    """Return the statistics of the runs, and the µs that each event took."""
    folded, spent = Statistics(), 0.0
    log = events(runs, jobs)
    while batch := list(itertools.islice(log, BATCH)):
        begin = time.process_time()
        fold(folded, batch)
        spent += time.process_time() - begin
    return folded, spent / runs / 2 * 1e6


def answer_to(folded: Statistics, span: timedelta, buckets: int) -> dict[str, float]:
    """Return the milliseconds and the bytes of an answer."""
    query, times = LanesQuery(since=NOW - span, until=NOW, buckets=buckets), []
    for _ in range(TIMES):
        begin = time.process_time()
        answer = msgspec.json.encode(lanes(folded, query.range(NOW, ZoneInfo("UTC")), query.jobs))
        times.append((time.process_time() - begin) * 1e3)
    return {"ms": short(statistics.median(times)), "slowest_ms": short(max(times)), "bytes": len(answer)}


def lane_memory(folded: Statistics) -> int:
    """Return the bytes that the counts by period take, as a start loads them."""
    kept = msgspec.msgpack.encode(folded.lanes, enc_hook=encode_part)
    tracemalloc.start()
    loaded = msgspec.msgpack.decode(kept, type=LaneFold, dec_hook=decode_part)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size if loaded.jobs else 0


def main() -> None:
    """Measure once and report."""
    sizes = arguments(__doc__ or "", runs=1_000_000, jobs=50)
    folded, per_event = folded_runs(sizes.runs, sizes.jobs)
    found = {name: answer_to(folded, span, buckets) for name, (span, buckets) in SPANS.items()}
    day, month = found["24h"], found["30d"]
    size = f"{day['bytes'] / 1e3:.1f} kB"
    report(
        f"Timelines of {sizes.runs} runs of {sizes.jobs} jobs",
        f"A timeline of 24 h takes {day['ms']} ms of CPU time and {size}, one of 30 days {month['ms']} ms.",
        **{f"last_{name}": figures for name, figures in found.items()},
        fold_us_per_event=short(per_event),
        checkpoint_bytes=len(to_checkpoint(folded).view or b""),
        lane_memory_bytes=lane_memory(folded),
    )


if __name__ == "__main__":
    main()
