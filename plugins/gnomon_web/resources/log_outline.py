"""The outline of a log: which lines belong to which step, and which only repeat the lines before them.

A recursion writes the same few lines of its frames again and again, and a loop may write one line a thousand times.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from gnomon import LogLine
from gnomon.domain.progress import Step
from gnomon.wire.log_outline import LogOutline, Repeat, StepLines, TextRepeats

LONGEST_PERIOD: Final = 60
"""Lines of what is repeated."""
LEAST_TIMES: Final = 2
"""How often something has to be repeated to be folded, besides the first time."""
LEAST_LINES: Final = 4
"""Lines that a fold hides, at least."""
LONG_TEXT: Final = 8
"""Lines of a text from which on repeats are looked for in it."""
MOST_FOLDS: Final = 1_000
_WINDOW: Final = 3
"""Lines that are compared together: a single one, such as `    ^^^^`, may be repeated within a period, too."""


def outline_of(lines: Sequence[LogLine], steps: Sequence[Step]) -> LogOutline:
    """Return the outline of the lines that are kept of a run, which have consecutive numbers."""
    if not lines:
        return LogOutline(first=None, last=None, steps=[], repeats=[], texts=[])
    first = lines[0].number
    repeats = list(find_repeats([line.text for line in lines], first))
    texts = list(_repeats_in_texts(lines))
    return LogOutline(
        first=first,
        last=lines[-1].number,
        steps=lines_of_steps(lines, steps),
        repeats=repeats[:MOST_FOLDS],
        texts=texts[:MOST_FOLDS],
        is_cut=max(len(repeats), len(texts)) > MOST_FOLDS,
    )


def lines_of_steps(lines: Sequence[LogLine], steps: Sequence[Step]) -> list[StepLines]:
    """Return the lines of each step that has any: those from its start on, until the next one starts."""
    started = sorted((step.started_at, number, step.name) for number, step in enumerate(steps) if step.started_at)
    begins = [bisect_left(lines, at, key=lambda line: line.at) for at, _, _ in started]
    return [
        StepLines(name=name, first=lines[begin].number, last=lines[end - 1].number)
        for (begin, end), (_, _, name) in zip(pairwise([*begins, len(lines)]), started, strict=True)
        if begin < end
    ]


def find_repeats(texts: Sequence[str], first: int = 0) -> Iterator[Repeat]:
    """Yield the lines that repeat the lines before them, in order; the texts are numbered from `first` on.

    Linear in the number of texts: a stretch in which every line was last seen the same number of lines before is
    periodic, and that number is its period.
    """
    seen: dict[tuple[str, ...], int] = {}
    begin = period = taken = 0
    for index in range(len(texts) + 1):
        window = tuple(texts[index : index + _WINDOW])
        distance = index - seen.get(window, index) if index + _WINDOW <= len(texts) else 0
        seen[window] = index
        if distance == period:
            continue
        if 0 < period <= LONGEST_PERIOD:
            # The window of the last line of the stretch reaches over the lines behind it.
            begin = max(begin, taken)
            hidden = index + _WINDOW - 1 - begin
            times = hidden // period
            if times >= LEAST_TIMES and times * period >= LEAST_LINES:
                taken = begin + times * period
                yield Repeat(first=first + begin, last=first + taken - 1, period=period, times=times)
        begin, period = index, distance


def _repeats_in_texts(lines: Sequence[LogLine]) -> Iterator[TextRepeats]:
    for line in lines:
        if line.text.count("\n") >= LONG_TEXT and (repeats := list(find_repeats(line.text.split("\n")))):
            yield TextRepeats(number=line.number, repeats=repeats)
