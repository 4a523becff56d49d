"""What a row of a run has beside its body, so that lists find and sort it without reading the body."""

from __future__ import annotations

from datetime import datetime

from gnomon.domain.execution import Execution


def sorted_columns(view: Execution) -> tuple[float | None, float | None, str | None, float | None]:
    """Return the columns `late`, `duration`, `actor` and `progress` of a run, as `run_sorting` sorts by them."""
    return view.delay, view.execution_time, view.actor or None, None if view.is_over else view.progress.percent


def end_of(view: Execution) -> datetime | None:
    """Return when a run ended, or when its late result came: retention goes by it. None before the end."""
    return view.updated_at if view.is_over else None


def searched_text(view: Execution) -> str | None:
    """Return the text in which `ExecutionQuery.text` is searched for, casefolded like it; None before the end."""
    return view.error_message.casefold() if view.is_over and view.error_message else None
