"""The steps that a body declares, from names and weights, and the limit of their texts."""

from __future__ import annotations

from gnomon.domain.events import DeclaredStep
from gnomon.safe_text import safe_repr
from gnomon.text import shorten

TEXT_LIMIT = 4 * 1024
"""Characters kept of a message, an item or a step's name."""


def declare_step(step: str | tuple[str, float] | DeclaredStep) -> DeclaredStep:
    """Return a declared step for a name or a (name, weight) pair."""
    if isinstance(step, str):
        return DeclaredStep(shorten(step, TEXT_LIMIT))
    name, weight = (step.name, step.weight) if isinstance(step, DeclaredStep) else step
    if not isinstance(name, str):
        raise TypeError(f"a step needs a name, got {safe_repr(name)}")
    return DeclaredStep(shorten(name, TEXT_LIMIT), float(weight))
