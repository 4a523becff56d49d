"""Fault runs have a short form, for every change, and a long one: `tox -e faults` sets $GNOMON_TEST_FAULTS to long."""

from __future__ import annotations

import os

IS_LONG = os.environ.get("GNOMON_TEST_FAULTS") == "long"


def rounds(short: int, long: int) -> int:
    """Return how often a fault is repeated in this run."""
    return long if IS_LONG else short


def seed() -> int:
    """Return the seed of the random choices in this run: $GNOMON_TEST_SEED."""
    return int(os.environ.get("GNOMON_TEST_SEED", "16"))
