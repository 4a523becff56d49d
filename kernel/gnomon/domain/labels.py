"""Labels of runs, such as tenant = "7": how they are written, checked and compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.safe_text import safe_repr

MOST_LABELS = 16
LONGEST_VALUE = 128
"""Characters of a value. It has no commas, which separate labels in the address of a list."""
LABEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_NAME = re.compile(LABEL_NAME, re.ASCII)
_TEXT = re.compile(rf"(?P<name>{LABEL_NAME})[:=](?P<value>.+)", re.ASCII | re.DOTALL)


def label_problem(labels: Mapping[Any, Any]) -> str | None:
    """Return what is wrong with labels, in a sentence; None for valid ones."""
    if len(labels) > MOST_LABELS:
        return f"{len(labels)} labels are too many: a run may have {MOST_LABELS}"
    for name, value in labels.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            rule = "has 1 to 63 of A-Z a-z 0-9 . _ - and begins with a letter or a digit"
            return f"the label {_short(name)} is not valid: a name {rule}"
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_VALUE or not value.isprintable() or "," in value:
            rule = f"a text of 1 to {LONGEST_VALUE} printable characters without commas"
            return f"the label {name!r} has the value {_short(value)}: expected {rule}"
    return None


def _short(value: Any) -> str:
    return safe_repr(value, LONGEST_VALUE)


def label_texts(labels: Mapping[str, str]) -> list[str]:
    """Return labels as texts, `tenant:7`, which filters and stores compare exactly."""
    return [f"{name}:{value}" for name, value in labels.items()]


def parse_label(text: str) -> tuple[str, str]:
    """Parse `tenant:7` or `tenant=7`; raise ValueError for anything else."""
    found = _TEXT.fullmatch(text)
    if found is None or label_problem({found["name"]: found["value"]}) is not None:
        raise ValueError(f'expected a label such as "tenant:7" or "tenant=7", a name and its value, got {text[:80]!r}')
    return found["name"], found["value"]


def have_labels(labels: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Return whether a run with these labels has all that a filter wants."""
    return all(labels.get(name) == value for name, value in (text.split(":", 1) for text in wanted))
