"""The newest manual runs that have ended, for callers that trigger a run and wait for its end.

A short run has often ended before its caller waits for it. Reading its end from the store, in a thread, took as long as
the run itself: callers that wait for each run got 0.35 to 0.4 of the runs per second of callers that do not.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from gnomon.domain.execution import Execution

MOST_BYTES = 4 * 2**20
"""Estimated memory of the views: about 4,000 runs without large arguments or results."""
VIEW_BYTES = 1_000
"""Size of a view without its arguments and results."""

_encode = msgspec.json.Encoder().encode


class EndedRuns:
    """Views of ended runs, the oldest of which are dropped."""

    def __init__(self) -> None:
        self._views: OrderedDict[str, tuple[Execution, int]] = OrderedDict()
        self._bytes = 0

    def keep(self, view: Execution) -> None:
        """Keep the view of a manual run; scheduled ones have nobody who waits."""
        if not view.is_manual:
            return
        size = VIEW_BYTES + len(_encode((view.args, view.kwargs, view.return_value, view.traceback)))
        if (replaced := self._views.pop(view.id, None)) is not None:
            self._bytes -= replaced[1]
        self._views[view.id] = view, size
        self._bytes += size
        while self._bytes > MOST_BYTES:
            self._bytes -= self._views.popitem(last=False)[1][1]

    def get(self, execution_id: str) -> Execution | None:
        """Return the view of a run, None where it is not kept."""
        found = self._views.get(execution_id)
        return found[0] if found is not None else None
