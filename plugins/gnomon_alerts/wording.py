"""What alerts say, in English, by the codes of their statements; the dashboard words them in other languages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Final

from gnomon.domain.statement import Wording
from gnomon.durations import Duration

TEMPLATES: Final[Mapping[str, str]] = {
    "failed": "failed: {text}",
    "failed_again": "failed {count} times in a row: {text}",
    "lost": "lost: {text}",
    "lost_again": "lost {count} times in a row: {text}",
    "missed": "missed a fire: {text}",
    "missed_again": "missed {count} fires in a row: {text}",
    "late_start": "has not started {limit_s} after it was due",
    "too_long": "runs for longer than {limit_s}; 95 % take up to {usual_s}",
    "silent": "{text}",
    "lingering": "has ended, but its code goes on for {limit_s} and keeps its slot",
    "several": "{count} runs: {what}",
    "no_success": "no success for {limit_s}: the last one was at {last_at}",
    "no_success_yet": "no success for {limit_s}: there was none yet",
    "unscheduled": "is not scheduled any more: {text}",
    "store": "the store is {state}: {text}",
    "store_quiet": "the store is {state}: it says nothing more",
    "plugin": "the plugin is {state}: {text}",
    "plugin_behind": "the plugin is {state}: {lag} events behind",
    "part": "{text}",
}

words: Final = Wording(
    TEMPLATES,
    seconds=lambda seconds: str(Duration(seconds=seconds)),
    time=lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
)
"""Returns the English sentence of a statement."""
