"""Checks of what a program passes to a command; each error says what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gnomon.domain.operator_actions import is_reserved
from gnomon.domain.parameter_checks import SHOWN, fields_rule, rule_of
from gnomon.domain.run_order import RunOrder
from gnomon.errors import ActTextError, IdempotencyKeyError, JobError, ParameterError, ReservedNameError
from gnomon.safe_text import is_instance, safe_repr, type_name

ACT_TEXTS = frozenset({"actor", "owner", "reason"})
"""The texts of an order that say who asked, for whom, and why."""
LONGEST_ACT_TEXT = 10_000
"""Characters of each of them."""
MAX_KEY_CHARACTERS = 255

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
        named = is_instance(found, str) and found in SCHEDULE_KEYS
        hint = SCHEDULE_KEYS[str(found)] if named else ", ".join(SCHEDULE_KEYS.values())
        raise JobError(f"the keys of a job are passed by name, got {safe_repr(found)}; its schedule is a key: {hint}")


def expect_order(order: Any) -> None:
    """Raise JobError unless it is an order whose fields have the types that they are declared with."""
    if not is_instance(order, RunOrder):
        raise JobError(f"expected a RunOrder such as RunOrder('nightly'), got {safe_repr(order)}")
    if (problem := _ORDER_RULE(order, "")) is not None:
        raise JobError(problem)


def expect_ids(ids: list[Any], name: str) -> None:
    """Raise ParameterError unless all items of a list are texts."""
    if _IDS_RULE is not None and (problem := _IDS_RULE(ids, name)) is not None:
        raise ParameterError(name, problem)


def check_key(key: object) -> None:
    """Raise IdempotencyKeyError for a key that is empty, too long or not text."""
    if not isinstance(key, str):
        raise IdempotencyKeyError(f"an idempotency key is text, got {safe_repr(key)}; a UUID is a good key")
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise IdempotencyKeyError(
            f"an idempotency key has 1 to {MAX_KEY_CHARACTERS} characters, got {len(key)}; a UUID is a good key"
        )
    if not key.isprintable():  # so a lone surrogate is refused too
        raise IdempotencyKeyError(
            f"an idempotency key has printable characters only, got {key!r}; a UUID is a good key"
        )


_ORDER_RULE, _IDS_RULE = fields_rule(RunOrder), rule_of(list[str], "execution_ids")


def expect_act_texts(given: Mapping[str, object]) -> None:
    """Raise ActTextError unless actor, owner and reason are texts that the log can keep; ReservedNameError."""
    for name in ACT_TEXTS & given.keys():
        _expect_act_text(name, given[name])


def _expect_act_text(name: str, text: object) -> None:
    if text is None:
        return
    if type(text) is not str:  # a subclass may answer differently each time
        raise ActTextError(name, f"expected text, got {safe_repr(text, SHOWN)} of type {type_name(text)}")
    if name == "owner" and not text:
        raise ActTextError(name, "expected the name of an owner, got an empty text; leave it out for a job of nobody")
    if len(text) > LONGEST_ACT_TEXT:
        raise ActTextError(name, f"expected at most {LONGEST_ACT_TEXT:,} characters, got {len(text):,}")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        problem = f"{text[:SHOWN]!r} has half a character at {exc.start}, which JSON cannot hold"
        raise ActTextError(name, problem) from exc
    if name == "actor" and is_reserved(text):
        raise ReservedNameError(text)
