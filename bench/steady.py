"""A steady load for some seconds, against bare APScheduler: CPU time per run, and start delays.

python bench/steady.py [--rate 5000] [--seconds 3] [--pairs 9]

Jobs run every second, spread evenly. Gnomon keeps the full history in SQLite with synchronous=FULL.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from gnomon import Job, Kernel
from measure import alternate, arguments, median, percentile, quartiles, ratios, report
from sides import TimedStore, triggers, until, with_lead

late: list[float] = []


async def body(first: float) -> None:
    """Record the start delay; the job is due every second from `first` on."""
    late.append((time.time() - first) % 1)


def gnomon(rate: int, seconds: int) -> Mapping[str, float]:
    """Run the load with Gnomon."""
    return with_lead(rate, lambda due: asyncio.run(_gnomon(rate, seconds, due)))


async def _gnomon(rate: int, seconds: int, due: datetime) -> Mapping[str, float]:
    jobs = [
        Job(id=f"job-{n}", func=body, trigger=trigger, args=[trigger.start_date.timestamp()])
        for n, trigger in enumerate(triggers(rate, due, 1, 1))
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = TimedStore(Path(folder) / "steady.db")
        async with Kernel(store=store, jobs=jobs, max_running=rate):
            return await _measure(due, seconds)


def bare(rate: int, seconds: int) -> Mapping[str, float]:
    """Run the load with APScheduler."""
    return with_lead(rate, lambda due: asyncio.run(_bare(rate, seconds, due)))


async def _bare(rate: int, seconds: int, due: datetime) -> Mapping[str, float]:
    scheduler = AsyncIOScheduler(timezone="UTC")
    for n, trigger in enumerate(triggers(rate, due, 1, 1)):
        first = trigger.start_date.timestamp()
        scheduler.add_job(body, trigger, args=[first], id=f"job-{n}", misfire_grace_time=None)
    scheduler.start()
    found = await _measure(due, seconds)
    scheduler.shutdown()
    return found


async def _measure(due: datetime, seconds: int) -> Mapping[str, float]:
    await until(due)
    late.clear()
    started, before = time.time(), time.process_time()
    await asyncio.sleep(seconds)
    cpu, spent = time.process_time() - before, time.time() - started
    found = sorted(late) or [0.0]
    return {
        "runs_per_s": len(late) / spent,
        "cpu_us_per_run": cpu / max(len(late), 1) * 1e6,
        "p50_late_ms": percentile(found, 50) * 1e3,
        "p99_late_ms": percentile(found, 99) * 1e3,
    }


def main() -> None:
    """Measure and print the results."""
    asked = arguments("A steady load.", rate=5_000, seconds=2, pairs=9)
    pairs = alternate(lambda: gnomon(asked.rate, asked.seconds), lambda: bare(asked.rate, asked.seconds), asked.pairs)
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    cpu = quartiles(ratios(pairs, "cpu_us_per_run"))
    report(
        f"steady {asked.rate} runs per second",
        f"At {asked.rate} runs per second, a run with its full history takes {cpu['median']} times the CPU time of one "
        f"in bare APScheduler ({median(ours, 'cpu_us_per_run')} against {median(theirs, 'cpu_us_per_run')} µs), at "
        f"{median(ours, 'runs_per_s')} and {median(theirs, 'runs_per_s')} runs per second; the median start delay is "
        f"{median(ours, 'p50_late_ms')} against {median(theirs, 'p50_late_ms')} ms, p99 {median(ours, 'p99_late_ms')} "
        f"against {median(theirs, 'p99_late_ms')} ms.",
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        pairs=len(pairs),
        ratio_gnomon_to_bare={"cpu": cpu},
        gnomon={key: median(ours, key) for key in ours[0]},
        bare={key: median(theirs, key) for key in theirs[0]},
    )


if __name__ == "__main__":
    main()
