"""The fields of a progress event on their way from a body to its kernel."""

from __future__ import annotations

from typing import TypedDict

from gnomon.domain.events import DeclaredStep


class ProgressFields(TypedDict, total=False):
    """The payload of a progress event; omitted fields stay as they were."""

    percent: float
    message: str
    step: str
    current_item: str
    processed_items: int
    total_items: int
    steps: list[DeclaredStep]
    skipped: list[str]
