"""Checks of what a program passes to a command; a JobError says what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from gnomon.domain.run_order import RunOrder
from gnomon.errors import JobError
from gnomon.safe_text import safe_repr

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
