"""How many finished runs there are of each kind, kept as rows that a list adds up instead of counting the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from gnomon.domain.execution import Execution

Cell: TypeAlias = tuple[str, str, bool, bool]
"""Job id, status, is_manual, hidden: the keys by which runs are counted."""
ALL_JOBS: Final = ""
"""The job id of the cells over all jobs."""


def cell_of(view: Execution) -> Cell:
    """Return the cell to which a run belongs."""
    return view.job_id, view.status, view.is_manual, view.hidden


def changes(added: Sequence[Cell], removed: Iterable[Cell] = ()) -> list[tuple[str, str, bool, bool, int]]:
    """Return by how much cells change with runs that are added or removed: those of each job, and those over all."""
    cells, kinds = Counter(added), Counter(cell[1:] for cell in added)
    for cell in removed:
        cells[cell] -= 1
        kinds[cell[1:]] -= 1
    rows = [(*cell, n) for cell, n in cells.items() if n]
    return rows + [(ALL_JOBS, *kind, n) for kind, n in kinds.items() if n]
