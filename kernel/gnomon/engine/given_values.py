"""Checks of what a program passes to a command; each error says what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from gnomon.domain.operator_actions import is_reserved
from gnomon.domain.run_order import RunOrder
from gnomon.errors import ActTextError, JobError, ReservedNameError
from gnomon.safe_text import safe_repr, type_name

ACT_TEXTS = frozenset({"actor", "owner", "reason"})
"""The texts of an order that say who asked, for whom, and why."""
LONGEST_ACT_TEXT = 10_000
"""Characters of each of them."""
SHOWN = 80

SCHEDULE_KEYS = {
    "interval": 'every="5m"',
    "cron": 'cron="0 18 * * 1-5"',
    "date": "at=datetime(2026, 12, 1, 18, tzinfo=UTC)",
}
"""What to write in place of the names of triggers in APScheduler."""


def refuse_positional(given: Sequence[object]) -> None:
    """Raise JobError for arguments without a name, such as the trigger in `add_job(f, "interval", minutes=5)`."""
    if given:
        found = given[0]
        named = isinstance(found, str) and found in SCHEDULE_KEYS
        hint = SCHEDULE_KEYS[str(found)] if named else ", ".join(SCHEDULE_KEYS.values())
        raise JobError(f"the keys of a job are passed by name, got {safe_repr(found)}; its schedule is a key: {hint}")


def expect_jobs(jobs: Any, one: str | None = None) -> None:
    """Raise JobError unless it is a list of jobs; `one` is the command that takes a single job."""
    if isinstance(jobs, str | bytes | Mapping) or not isinstance(jobs, Iterable):
        hint = f"; {one} takes a single job" if one is not None else ""
        raise JobError(f"expected a list of jobs, got {safe_repr(jobs)}{hint}")


def expect_orders(orders: Any) -> None:
    """Raise JobError unless it is a list of orders."""
    if isinstance(orders, str | bytes) or not isinstance(orders, Sequence):
        raise JobError(f"expected a list of RunOrders, got {safe_repr(orders)}; trigger runs a single job")


def expect_order(order: Any) -> None:
    """Raise JobError unless it is an order whose arguments and labels are mappings."""
    if not isinstance(order, RunOrder):
        raise JobError(f"expected a RunOrder such as RunOrder('nightly'), got {safe_repr(order)}")
    for name, example in (("kwargs", "{'market': 'cn'}"), ("labels", "{'tenant': '7'}")):
        if not isinstance(value := getattr(order, name), Mapping):
            found = safe_repr(value)
            raise JobError(f"{name} of job {order.job_id!r}: expected a mapping such as {example}, got {found}")


def expect_time(value: Any, name: str) -> None:
    """Raise JobError unless it is a time."""
    if not isinstance(value, date):
        raise JobError(f"{name}: expected a datetime such as datetime(2026, 12, 1, 18), got {safe_repr(value)}")


def expect_act_texts(given: Mapping[str, object]) -> None:
    """Raise ActTextError unless actor, owner and reason are texts that the log can keep; ReservedNameError."""
    for name in ACT_TEXTS & given.keys():
        _expect_act_text(name, given[name])


def _expect_act_text(name: str, text: object) -> None:
    if text is None:
        return
    if type(text) is not str:  # a subclass may answer differently each time
        raise ActTextError(name, f"expected text, got {safe_repr(text, SHOWN)} of type {type_name(text)}")
    if len(text) > LONGEST_ACT_TEXT:
        raise ActTextError(name, f"expected at most {LONGEST_ACT_TEXT:,} characters, got {len(text):,}")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        problem = f"{text[:SHOWN]!r} has half a character at {exc.start}, which JSON cannot hold"
        raise ActTextError(name, problem) from exc
    if name == "actor" and is_reserved(text):
        raise ReservedNameError(text)
