"""What all benchmarks share: two sides that alternate in one process, quartiles of their ratios, one way to print.

Absolute figures of a busy machine are off by a factor of two; the ratio of two sides that ran within the same second is
not. So the sides take turns (A B B A A B ...), and what counts is the median of the ratios of the pairs.
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
LIMIT = 50.0
"""Seconds after which no further pair is begun, so that a program ends within a minute."""


def arguments(description: str, **sizes: int) -> argparse.Namespace:
    """Read the sizes of a measurement from the command line, each with its default; and silence all logging."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    parser = argparse.ArgumentParser(description=description)
    for name, default in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return parser.parse_args()


def alternate(first: Side, second: Side, pairs: int) -> list[tuple[Mapping[str, float], Mapping[str, float]]]:
    """Measure both sides again and again, in turn first A then B and first B then A."""
    begun, found = time.monotonic(), []
    while len(found) < pairs and (not found or time.monotonic() - begun < LIMIT * (1 - 1 / (len(found) + 1))):
        order = (first, second) if len(found) % 2 == 0 else (second, first)
        results = {}
        for side in order:
            gc.collect()
            results[side] = side()
        found.append((results[first], results[second]))
    return found


def ratios(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], key: str, other: str = "") -> list[float]:
    """Divide a figure of the first side by one of the second, pair by pair."""
    return [first[key] / second[other or key] for first, second in pairs if second[other or key]]


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Give the median and the quartiles, rounded to what they are worth."""
    if len(values) < 2:
        return dict.fromkeys(("q1", "median", "q3"), short(values[0]))
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"q1": short(low), "median": short(middle), "q3": short(high)}


def median(results: Sequence[Mapping[str, float]], key: str) -> float:
    """Give the median of a figure."""
    return short(statistics.median(result[key] for result in results))


def short(value: float) -> float:
    """Keep three digits."""
    return float(f"{value:.3g}")


def centile(values: Sequence[float], percent: int) -> float:
    """Give a centile of sorted values."""
    return values[min(len(values) * percent // 100, len(values) - 1)]


def machine() -> dict[str, str]:
    """Name what it ran on."""
    packages = ("gnomon", "APScheduler", "msgspec", "huey")
    return {
        "machine": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{package.lower(): version(package) for package in packages},
    }


def report(name: str, sentence: str, **figures: object) -> None:
    """Print what was found: one JSON line for programs, one sentence for people."""
    print(json.dumps({"benchmark": name, "sentence": sentence, **figures}))
    print(sentence)
    sys.stdout.flush()
