"""Shared by all benchmarks: alternating measurements of two sides, quartiles of their ratios, and reports.

On a busy machine absolute times are off by a factor of two, but the ratio of two measurements within the same second is
not. So the sides alternate in one process (A B B A A B ...), and the result is the median of the paired ratios.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import platform
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

import structlog

Side = Callable[[], Mapping[str, float]]
LIMIT_S = 50.0
"""No further pair starts after this time, so that a benchmark ends within a minute."""


def arguments(description: str, **sizes: int | str) -> argparse.Namespace:
    """Parse the sizes of a benchmark from the command line, and disable logging."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    parser = argparse.ArgumentParser(description=description)
    for name, default in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


def alternate(first: Side, second: Side, pairs: int) -> list[tuple[Mapping[str, float], Mapping[str, float]]]:
    """Measure both sides repeatedly, alternately A before B and B before A."""
    started, found = time.monotonic(), []
    while len(found) < pairs and (not found or time.monotonic() - started < LIMIT_S * (1 - 1 / (len(found) + 1))):
        order = (first, second) if len(found) % 2 == 0 else (second, first)
        results = {}
        for side in order:
            gc.collect()
            results[side] = side()
        found.append((results[first], results[second]))
    return found


def ratios(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], key: str, other: str = "") -> list[float]:
    """Return the ratio of a figure of the first side to one of the second for each pair."""
    return [first[key] / second[other or key] for first, second in pairs if second[other or key]]


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles, rounded to three digits."""
    if len(values) < 2:
        return dict.fromkeys(("q1", "median", "q3"), short(values[0]))
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"q1": short(low), "median": short(middle), "q3": short(high)}


def median(results: Sequence[Mapping[str, float]], key: str) -> float:
    """Return the median of a figure."""
    return short(statistics.median(result[key] for result in results))


def short(value: float) -> float:
    """Round to three digits."""
    return float(f"{value:.3g}")


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of sorted values."""
    return values[min(len(values) * percent // 100, len(values) - 1)]


def machine() -> dict[str, str]:
    """Return the machine and the versions."""
    packages = ("gnomon", "APScheduler", "msgspec", "huey")
    return {
        "machine": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{package.lower(): version(package) for package in packages},
    }


def report(name: str, sentence: str, **figures: object) -> None:
    """Print the results: one JSON line for programs, one sentence for people."""
    print(json.dumps({"benchmark": name, "sentence": sentence, **figures}))
    print(sentence)
    sys.stdout.flush()
