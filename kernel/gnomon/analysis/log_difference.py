"""The first difference between the logs of two runs.

Two runs never log the same text: times, durations, counts and ids differ. Lines are therefore compared without them:
ISO times, UUIDs, long hexadecimal ids, addresses in memory and numbers are each replaced by one sign.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gnomon.domain.records import LogLine
from gnomon.domain.run_difference import LogDifference
from gnomon.ports import Store

PAGE_LINES: Final = 1_000
MOST_NEW: Final = 10
"""New lines that are listed."""
GRAVEST: Final = ("critical", "fatal", "error", "exception", "warning", "warn")

# In this order: a time is not three numbers, and a number within a word, such as that of `utf8`, belongs to the word.
_VARYING: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\b\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?\b"
    r"|\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"
    r"|\b0x[0-9a-fA-F]+\b"
    r"|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b"
    r"|(?<![A-Za-z_])\d+(?:[.,]\d+)*"
)


def comparable(line: LogLine) -> tuple[str, str]:
    """Return what is compared of a line: its level, and its text without what differs in every run."""
    return line.level, _VARYING.sub("#", line.text)


async def kept_lines(store: Store, execution_id: str) -> list[LogLine]:
    """Read all lines of a run that are kept: stores keep its newest 2,000."""
    kept: list[LogLine] = []
    while True:
        lines = await store.log(execution_id, kept[-1].number if kept else 0, PAGE_LINES)
        kept += lines
        if len(lines) < PAGE_LINES:
            return kept


def compare_logs(lines: Sequence[LogLine], others: Sequence[LogLine]) -> LogDifference | None:
    """Compare the kept lines of two runs by their numbers; None where neither logged anything."""
    if not lines and not others:
        return None
    begin = max(one[0].number for one in (lines, others) if one)
    ours, theirs = ([line for line in one if line.number >= begin] for one in (lines, others))
    pairs = zip(ours, theirs, strict=False)
    same = next((at for at, (line, other) in enumerate(pairs) if comparable(line) != comparable(other)), None)
    at = same if same is not None else min(len(ours), len(theirs))
    known = {comparable(other) for other in others}
    new = [line for line in lines if comparable(line) not in known]
    return LogDifference(
        same=at,
        line=ours[at] if at < len(ours) else None,
        other=theirs[at] if at < len(theirs) else None,
        new=sorted(new, key=_gravity)[:MOST_NEW],
        new_total=len(new),
        first_kept=lines[0].number if lines else None,
        other_first_kept=others[0].number if others else None,
    )


def _gravity(line: LogLine) -> tuple[int, int]:
    level = line.level.lower()
    return GRAVEST.index(level) if level in GRAVEST else len(GRAVEST), line.number
