"""A steady load for some seconds, against bare APScheduler: processor time of a run, and how late it starts.

python bench/steady.py [--rate 5000] [--seconds 3] [--pairs 9]

Jobs of 1 s, spread evenly. Gnomon keeps the full history of it in SQLite with synchronous=FULL.
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
from measure import alternate, arguments, centile, median, quartiles, ratios, report
from sides import TimedStore, triggers, until, with_lead

late: list[float] = []


async def body(first: float) -> None:
    """Tell how many seconds after its instant it started; it is due each second from the first on."""
    late.append((time.time() - first) % 1)


def gnomon(rate: int, seconds: int) -> Mapping[str, float]:
    """Let Gnomon run it."""
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
    """Let APScheduler run it."""
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
    begun, before = time.time(), time.process_time()
    await asyncio.sleep(seconds)
    cpu, spent = time.process_time() - before, time.time() - begun
    found = sorted(late) or [0.0]
    return {
        "runs_per_s": len(late) / spent,
        "cpu_us_per_run": cpu / max(len(late), 1) * 1e6,
        "p50_late_ms": centile(found, 50) * 1e3,
        "p99_late_ms": centile(found, 99) * 1e3,
    }


def main() -> None:
    """Measure and print."""
    asked = arguments("A steady load.", rate=5_000, seconds=2, pairs=9)
    pairs = alternate(lambda: gnomon(asked.rate, asked.seconds), lambda: bare(asked.rate, asked.seconds), asked.pairs)
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    cpu = quartiles(ratios(pairs, "cpu_us_per_run"))
    report(
        f"steady {asked.rate} runs a second",
        f"At {asked.rate} runs a second a run with its full history takes {cpu['median']} times the processor time "
        f"that bare APScheduler takes for one without ({median(ours, 'cpu_us_per_run')} against "
        f"{median(theirs, 'cpu_us_per_run')} µs), at {median(ours, 'runs_per_s')} and {median(theirs, 'runs_per_s')} "
        f"runs a second; half start within {median(ours, 'p50_late_ms')} against {median(theirs, 'p50_late_ms')} ms, "
        f"99 of 100 within {median(ours, 'p99_late_ms')} against {median(theirs, 'p99_late_ms')}.",
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        pairs=len(pairs),
        ratio_gnomon_to_bare={"cpu": cpu},
        gnomon={key: median(ours, key) for key in ours[0]},
        bare={key: median(theirs, key) for key in theirs[0]},
    )


if __name__ == "__main__":
    main()
