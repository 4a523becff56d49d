"""A step that a job declares."""

from __future__ import annotations

import msgspec


class DeclaredStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that a job declares; `weight` is its share of the whole, relative to the other steps."""

    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for a weight that JSON cannot hold (NaN) or that makes the percentage meaningless."""
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"the weight of step {self.name!r} must be 0 or more and finite, got {self.weight}")
