"""Fault runs have a short form, for every change, and a long one: `tox -e faults` sets $GNOMON_TEST_FAULTS to long."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

IS_LONG = os.environ.get("GNOMON_TEST_FAULTS") == "long"


def rounds(short: int, long: int) -> int:
    """Return how often a fault is repeated in this run."""
    return long if IS_LONG else short


def variants(*short: Any, long: Iterable[Any] = ()) -> list[Any]:
    """Return the values of a parameter in this run: `long` are those that find the same faults for the most part."""
    return [*short, *(long if IS_LONG else ())]


def seed() -> int:
    """Return the seed of the random choices in this run: $GNOMON_TEST_SEED."""
    return int(os.environ.get("GNOMON_TEST_SEED", "16"))
