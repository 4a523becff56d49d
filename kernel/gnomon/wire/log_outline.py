"""The outline of a run's log on the wire: what a viewer folds."""

from __future__ import annotations

import msgspec


class StepLines(msgspec.Struct, frozen=True, kw_only=True):
    """The lines, from `first` to `last`, that were logged while a step was the current one."""

    name: str
    first: int
    last: int


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that only repeat those before them: from `first` to `last`, `times` times the `period` lines before."""

    first: int
    last: int
    period: int
    times: int


class TextRepeats(msgspec.Struct, frozen=True, kw_only=True):
    """Repeats within the text of one line that has several, such as a traceback: its lines are counted from 0."""

    number: int
    repeats: list[Repeat]


class LogOutline(msgspec.Struct, frozen=True, kw_only=True):
    """What can be folded in the lines from `first` to `last`, which were kept when it was made.

    `is_cut`: there are more repeats than are listed.
    """

    first: int | None
    last: int | None
    steps: list[StepLines]
    repeats: list[Repeat]
    texts: list[TextRepeats]
    is_cut: bool = False
